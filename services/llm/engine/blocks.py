"""Blocks of the key-value cache: who holds which, and what can be used again.

A full block is named by a hash over its tokens, what its embeddings depend on, and the block before it;
so equal names mean equal prefixes. Free blocks keep their content until they are needed, oldest first.
Under a sliding window, blocks that no later token can see are given back while their sequence runs.
"""

import hashlib
from array import array
from collections import OrderedDict

from services.llm.engine.request import Sequence

EXPIRED = -1
"""Stands in a block table where a block was given back."""


class BlockPool:
    """Hands out blocks by reference count.

    window: tokens that a token sees, itself included, besides the first `global_tokens`; 0 sees all.
    """

    def __init__(self, count: int, size: int, *, reuse: bool = True, window: int = 0, global_tokens: int = 0):
        self.count, self.size = count, size
        self._window, self._global_tokens = window, global_tokens
        self._reuse = reuse
        self._holders = [0] * count
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(count))
        self._block_of: dict[bytes, int] = {}
        self._hash_of: dict[int, bytes] = {}

    @property
    def free_count(self) -> int:
        """Blocks nobody holds, those with reusable content included."""
        return len(self._free)

    def needed(self, tokens: int) -> int:
        """Blocks that many tokens take."""
        return -(-tokens // self.size)

    def can_allocate(self, sequence: Sequence, *, spare: int = 0) -> bool:
        """Whether its tokens fit, with `spare` blocks left over for others."""
        hits = self._match(sequence)
        taken = self.needed(len(sequence.token_ids)) - len(hits) + sum(block in self._free for block in hits)
        return taken + spare <= len(self._free)

    def allocate(self, sequence: Sequence) -> None:
        """Gives a sequence all blocks its tokens take, and counts what is already computed in them."""
        for block in self._match(sequence):
            self._free.pop(block, None)
            self._holders[block] += 1
            sequence.block_table.append(block)
        sequence.sealed_blocks = len(sequence.block_table)
        sequence.computed = sequence.sealed_blocks * self.size
        self.expire(sequence)
        self.append(sequence)

    def can_append(self, sequence: Sequence, *, drafts: int = 0) -> bool:
        return self.needed(len(sequence.token_ids) + drafts) - len(sequence.block_table) <= len(self._free)

    def append(self, sequence: Sequence, *, drafts: int = 0) -> None:
        """Adds the blocks that the tokens, and so many guessed ones, need by now."""
        while len(sequence.block_table) < self.needed(len(sequence.token_ids) + drafts):
            sequence.block_table.append(self._take())

    def seal(self, sequence: Sequence) -> None:
        """Makes the blocks that are full of computed tokens findable."""
        while self._reuse and (sequence.sealed_blocks + 1) * self.size <= sequence.computed:
            name = self._name(sequence, sequence.sealed_blocks)
            block = sequence.block_table[sequence.sealed_blocks]
            if self._block_of.setdefault(name, block) == block:
                self._hash_of[block] = name
            sequence.sealed_blocks += 1

    def expire(self, sequence: Sequence) -> int:
        """Gives back the blocks that neither the next token nor any later one sees, and counts them."""
        if not self._window:
            return 0
        first = max(self.needed(self._global_tokens), sequence.expired_blocks)
        end = (sequence.computed - self._window + 1) // self.size
        for index in range(first, end):
            self._drop(sequence.block_table[index])
            sequence.block_table[index] = EXPIRED
        sequence.expired_blocks = max(first, end)
        return max(0, end - first)

    def release(self, sequence: Sequence) -> None:
        """Takes all blocks back; the end of a prefix is evicted before its beginning."""
        for block in reversed(sequence.block_table):
            if block != EXPIRED:
                self._drop(block)
        sequence.block_table.clear()
        sequence.computed = sequence.sealed_blocks = sequence.expired_blocks = 0

    def _drop(self, block: int) -> None:
        """One holder less; what cannot be found again is used again first."""
        self._holders[block] -= 1
        if not self._holders[block]:
            self._free[block] = None
            if block not in self._hash_of:
                self._free.move_to_end(block, last=False)

    def _take(self) -> int:
        block, _ = self._free.popitem(last=False)
        self._holders[block] = 1
        name = self._hash_of.pop(block, None)
        if name is not None:
            del self._block_of[name]
        return block

    def _match(self, sequence: Sequence) -> list[int]:
        """Computed blocks at its start; at least one token is left over, and no media span is cut."""
        hits: list[int] = []
        if self._reuse:
            for index in range((len(sequence.token_ids) - 1) // self.size):
                block = self._block_of.get(self._name(sequence, index))
                if block is None:
                    break
                hits.append(block)
        while sequence.span_across(len(hits) * self.size):
            hits.pop()
        return hits

    def _name(self, sequence: Sequence, index: int) -> bytes:
        """Hash of the block at `index` and of all before it; called in order of `index`."""
        hashes, request = sequence.block_hashes, sequence.request
        if index == len(hashes):
            start, end = index * self.size, (index + 1) * self.size
            root = hashlib.sha256(request.cache_salt.encode()).digest()
            sha = hashlib.sha256(hashes[-1] if hashes else root)
            sha.update(array("q", sequence.token_ids[start:end]).tobytes())
            for position, salt in request.salts.items():
                if start <= position < end:
                    sha.update(b"%d:%d:" % (position, len(salt)) + salt)
            hashes.append(sha.digest())
        return hashes[index]
