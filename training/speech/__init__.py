"""How the recogniser learns to hear: made and real speech, the streaming first pass, and its report."""
