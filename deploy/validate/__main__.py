"""`python -m deploy.validate`: builds every overlay and component, checks them, and says what is wrong."""

import sys

from deploy.validate.build import BuildError, build_all
from deploy.validate.rules import check_rules
from deploy.validate.schemas import check_schemas


def main() -> int:
    """0 when nothing is wrong."""
    failed = False
    try:
        for name, manifests in build_all():
            problems = [("schema", problem) for problem in check_schemas(manifests)]
            problems += check_rules(manifests)
            failed |= bool(problems)
            print(f"{name}: {len(manifests.documents)} documents, {len(problems) or 'no'} problems")
            for rule, problem in problems:
                print(f"  {rule}: {problem}")
    except BuildError as error:
        sys.exit(str(error))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
