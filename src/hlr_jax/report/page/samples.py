"""Sample users: history, and the list of each run beside the others'."""

from collections.abc import Sequence

from hlr_jax.report.facts.samples import Listed, Reason, SampleUser
from hlr_jax.report.page.elements import Child, Markup, element

_HISTORY = 8


def sample_users(labels: Sequence[str], users: Sequence[SampleUser], lists: Sequence[Sequence[list[Listed]]]) -> Markup:
    """Return the users with the lists [runs][users] of every run."""
    blocks = []
    for place, one in enumerate(users):
        cards = [_card(label, found[place], one.to_find) for label, found in zip(labels, lists, strict=True)]
        blocks.append(element("h4", f"User {one.user}"))
        blocks.append(_history(one))
        blocks.append(element("div", cards, class_="grid-of"))
    return element("div", blocks)


def _history(one: SampleUser) -> Markup:
    shown, rest = "; ".join(one.history[:_HISTORY]), one.history[_HISTORY:]
    count = f"{len(one.history)} known {'item' if len(one.history) == 1 else 'items'}"
    to_find = f", {one.to_find} to find in test" if one.to_find else ""
    folded = (
        element("details", element("summary", f"{len(rest)} more"), element("p", "; ".join(rest))) if rest else None
    )
    return element("div", element("p", f"{count}{to_find}, the rarest first: {shown}{';' if rest else '.'}"), folded)


def _card(label: str, listed: Sequence[Listed], to_find: int) -> Markup:
    hits = sum(one.hit for one in listed)
    entries = [
        element(
            "li",
            one.title,
            " ",
            element("span", "found", class_="hit") if one.hit else None,
            element("span", _because(one), class_="more") if one.reasons else None,
        )
        for one in listed
    ]
    even = listed[0].neighbors if listed else 0
    share = (
        element("p", f"{even} items share the weight: {1 / even:.1%} each would be even.", class_="soft")
        if even
        else None
    )
    title = element("h5", f"{label}: {hits} of {len(listed)} found in test" if to_find else label)
    return element("div", title, share, element("ol", entries, class_="list"), class_="card")


def _because(one: Listed) -> str:
    return "because of " + "; ".join(map(_reason, one.reasons))


def _reason(reason: Reason) -> str:
    through = "" if reason.memory is None else f", key {reason.memory}"
    return f"{reason.title} ({reason.weight:.1%}{through})"


def explanation(any_reasons: bool) -> list[Child]:
    """Return what the lists are, for those who read them."""
    text = (
        "Users with few, the median number of, and many known items (train and validation), drawn by rule: the 10th, "
        "50th and 90th percentile. Lists are those of a run's first seed; “found” marks an item of the test split."
    )
    if any_reasons:
        text += (
            " The reasons are the attention's own weights: near an even share they say little. Models that read no "
            "history give none."
        )
    return [element("p", text, class_="soft")]
