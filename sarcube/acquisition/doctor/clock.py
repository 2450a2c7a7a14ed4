"""The clock of this machine, against the dates in the answers of servers."""

from collections.abc import Sequence

from sarcube.acquisition.doctor.asking import Answer
from sarcube.acquisition.doctor.findings import Finding, Trouble, in_time

_NOTICED = 60.0  # seconds: a signature of 45 minutes is then renewed too late or too early
_HARMFUL = 300.0
_CUT = 0.5  # a date is cut to whole seconds


def compare_clock(answers: Sequence[Answer]) -> Finding:
    """Hold the clock against every server that answered.

    Each difference is known to half the time that request and answer took, and half a second. The smallest counts: a
    server whose own clock is wrong cannot put this machine in the wrong where another one agrees with it.
    """
    differences: dict[str, float] = {}
    for answer in answers:
        if answer.clock is not None:
            apart = answer.came - answer.seconds / 2 - answer.clock  # positive: this machine is ahead
            sure = max(abs(apart) - answer.seconds / 2 - _CUT, 0.0)
            known = differences.get(answer.host)
            if known is None or sure < abs(known):
                differences[answer.host] = sure if apart > 0 else -sure
    if not differences:
        return Finding("clock", "skipped", "no server told its time")
    least = min(differences.values(), key=abs)
    if abs(least) <= _NOTICED:
        odd = [host for host, difference in differences.items() if abs(difference) > _NOTICED]
        if odd:
            words = f"this machine's clock is right by other servers, that of {', '.join(odd)} is off"
            return Finding("clock", "warning", words, "nothing to do here; its signatures may expire at odd times")
        return Finding("clock", "well", f"agrees with {', '.join(differences)}")
    side = "ahead of" if least > 0 else "behind"
    words = f"this machine's clock is {in_time(abs(least))} {side} that of {', '.join(differences)}"
    advice = "set it, or let the system do so (timedatectl set-ntp true; sudo sntp -sS time.apple.com on a Mac)"
    if abs(least) <= _HARMFUL:
        what = "signatures seem to expire too early or too late, and are asked for more often"
        return Finding("clock", "warning", f"{words}: {what}", advice)
    raise Trouble(f"{words}: signatures and certificates are taken for expired, or for not yet valid", advice)
