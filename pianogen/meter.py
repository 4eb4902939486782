"""Time signatures as text, such as 3/4."""

from pianogen.errors import UsageError
from pianogen.roll import MAX_BAR_POSITION


def bar_steps(meter: str, steps_per_quarter: int) -> int:
    """The number of steps of a bar.

    Raises:
        UsageError: it is not a whole number, or more than 255.
    """
    numerator, denominator = map(int, meter.split("/"))
    num_steps, remainder = divmod(4 * steps_per_quarter * numerator, denominator)
    if remainder or num_steps > MAX_BAR_POSITION:
        raise UsageError(
            f"sampling.meter: a bar of {meter} has {4 * steps_per_quarter * numerator / denominator:g} steps with "
            f"{steps_per_quarter} steps per quarter note; choose a meter whose bar is a whole number of steps, "
            f"at most {MAX_BAR_POSITION}"
        )
    return num_steps
