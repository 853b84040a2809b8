"""What becomes of wrong input: one short line of ``InputError``, or what is wrong with that."""

from hlr_jax.errors import InputError

LONGEST = 300  # letters of a line


def fault_of(call, *, named=""):
    """Return what is wrong with how a call refuses its input; nothing: it does so in one line, which names this."""
    try:
        call()
    except InputError as problem:
        return fault_of_line(str(problem), named)
    except Exception as problem:
        return f"{type(problem).__name__}: {str(problem)[:200]}"
    return "not refused"


def fault_of_line(line, named=""):
    """Return what is wrong with a message; nothing: it is one short line, which names this."""
    if "\n" in line:
        return f"several lines: {line[:200]!r}"
    if len(line) > LONGEST:
        return f"{len(line)} letters: {line[:200]!r}"
    return "" if named in line else f"{named} is not named: {line!r}"


def check_all(attempts):
    """Check that all of these are refused well: pairs of a label and a fault. Return how many there are."""
    faults = dict(attempts)
    assert not any(faults.values()), "\n".join(f"{label}: {fault}" for label, fault in faults.items() if fault)
    return len(faults)
