"""How the commands of an operator end: with one line on what was found, or on why not."""

from __future__ import annotations

import sys
from collections.abc import Callable

from nats.errors import Error as NatsError
from sqlalchemy.exc import SQLAlchemyError

from kinemesh.errors import KinemeshError


def tell(work: Callable[[], str]) -> int:
    """Do the work and print what it answers; what keeps it from being done goes to standard error.

    :returns: the status to end with: 0 when done, 1 when refused.
    """
    try:
        found = work()
    except KinemeshError as error:
        sys.stderr.write(f"{error.reason}: {error.message}\n")
        return 1
    except SQLAlchemyError as error:
        sys.stderr.write(f"The database does not do it: {str(error).splitlines()[0]}\n")
        return 1
    except (NatsError, TimeoutError) as error:
        sys.stderr.write(f"The broker does not do it: {type(error).__name__}\n")
        return 1
    sys.stdout.write(found + "\n")
    return 0
