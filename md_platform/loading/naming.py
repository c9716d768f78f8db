"""Names as users type them in, instruments out: registered ones, else what a venue lists. Never a guess."""

from collections.abc import Callable, Iterable, Sequence

from md_platform.domain.instruments import Instrument, SymbolMap
from md_platform.errors import SourceError, UnknownInstrument

Listing = Callable[[str], list[Instrument]]
"""Every instrument of a venue; UnknownVenue, or SourceError where it cannot be asked."""


def resolve(
    texts: Iterable[str],
    registered: Sequence[Instrument],
    listing: Listing,
    configured: Sequence[str] = (),
    *,
    offline: bool = False,
) -> list[Instrument]:
    """Instruments by canonical, ccxt or native name, each once, in the order given; UnknownInstrument.

    A name without a venue is looked for among `registered` and the venues of the `configured` ids. With `offline`, a
    canonical id is taken as it is where its venue cannot be asked, or lists nothing.
    """
    known = SymbolMap(registered)
    venues = sorted({each.venue for each in registered} | {name.partition(":")[0] for name in configured})
    found = [_registered(text, known) or _listed(text, known, listing, venues, offline=offline) for text in texts]
    return list(dict.fromkeys(found))


def _registered(text: str, known: SymbolMap) -> Instrument | None:
    try:
        return known.resolve(text)
    except UnknownInstrument:
        return None


def _listed(text: str, known: SymbolMap, listing: Listing, venues: Sequence[str], *, offline: bool) -> Instrument:
    venue, colon, _ = text.partition(":")
    try:
        listed = [instrument for name in ([venue.lower()] if colon else venues) for instrument in listing(name)]
    except SourceError:
        if not offline:
            raise
        listed = []
    if offline and not listed:
        return Instrument.parse(text)
    return SymbolMap([*known, *listed]).resolve(text)
