"""Numbers and what clings to them, in English words that any TTS says right: units, money, times, dates, ranges.

Plain integers and decimals are left as they are: every TTS reads those.
"""

import re
from collections.abc import Callable
from typing import Final

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

_MONTHS = ["January", "February", "March", "April", "May", "June", "July"]
_MONTHS += ["August", "September", "October", "November", "December"]
_DECADES = ["hundreds", "tens", "twenties", "thirties", "forties", "fifties", "sixties", "seventies"]
_DECADES += ["eighties", "nineties"]
_MONEY = {"$": ("dollar", "dollars"), "€": ("euro", "euros"), "£": ("pound", "pounds"), "¥": ("yen", "yen")} | {
    "₹": ("rupee", "rupees")
}
_SCALES = {"k": "thousand", "m": "million", "bn": "billion", "b": "billion", "tn": "trillion", "t": "trillion"}
_FRACTIONS = {
    "1/2": "one half",
    "1/3": "one third",
    "2/3": "two thirds",
    "1/4": "one quarter",
    "3/4": "three quarters",
    "1/5": "one fifth",
    "1/8": "one eighth",
    "1/10": "one tenth",
}
_VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅛": "1/8"}

UNITS: Final = {  # unit: (one, many)
    **{p + "m": (f"{n}metre", f"{n}metres") for p, n in (("", ""), ("k", "kilo"), ("c", "centi"), ("m", "milli"))},
    **{p + "g": (f"{n}gram", f"{n}grams") for p, n in (("", ""), ("k", "kilo"), ("m", "milli"))},
    **{p + "W": (f"{n}watt", f"{n}watts") for p, n in (("", ""), ("k", "kilo"), ("M", "mega"))},
    **{p + "Hz": (f"{n}hertz", f"{n}hertz") for p, n in (("", ""), ("k", "kilo"), ("M", "mega"), ("G", "giga"))},
    **{p + "B": (f"{n}byte", f"{n}bytes") for p, n in (("k", "kilo"), ("K", "kilo"), ("M", "mega"), ("G", "giga"))},
    "TB": ("terabyte", "terabytes"),
    "kWh": ("kilowatt hour", "kilowatt hours"),
    "V": ("volt", "volts"),
    "l": ("litre", "litres"),
    "L": ("litre", "litres"),
    "ml": ("millilitre", "millilitres"),
    "mL": ("millilitre", "millilitres"),
    "s": ("second", "seconds"),
    "sec": ("second", "seconds"),
    "ms": ("millisecond", "milliseconds"),
    "min": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "m²": ("square metre", "square metres"),
    "km²": ("square kilometre", "square kilometres"),
    "m³": ("cubic metre", "cubic metres"),
    "ha": ("hectare", "hectares"),
    "ft": ("foot", "feet"),
    "mi": ("mile", "miles"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "mph": ("mile per hour", "miles per hour"),
    "km/h": ("kilometre per hour", "kilometres per hour"),
    "kph": ("kilometre per hour", "kilometres per hour"),
    "m/s": ("metre per second", "metres per second"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "℃": ("degree Celsius", "degrees Celsius"),
    "℉": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "%": ("percent", "percent"),
}
_NUMBER = r"(?<!\d)\d{1,15}(?:\.\d{1,15})?"
_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_M = r"(?:\.[Mm]\.(?=\s+[a-z])|\.?[Mm]\b)"  # of "am" or "p.m."; a full stop that may end the sentence stays
_SIGN = "|".join(map(re.escape, _MONEY))


def _count(number: str, one_many: tuple[str, str]) -> str:
    return f"{number} {one_many[number != '1']}"


def _money(found: re.Match[str]) -> str:
    number, scale, sign = found["number"], found["scale"], _MONEY[found["sign"]]
    if scale:
        return f"{number} {_SCALES.get(scale.lower(), scale)} {sign[1]}"
    whole, _, cents = number.partition(".")
    return f"{_count(whole, sign)} {int(cents)}" if len(cents) == 2 and int(cents) else _count(number, sign)


def _clock(found: re.Match[str]) -> str:
    hour, minute, half = int(found["hour"]), int(found["minute"]), (found["half"] or "").lower()
    minutes = f" oh {minute}" if 0 < minute < 10 else f" {minute}" if minute else "" if half else " o'clock"
    seconds = f" and {int(found['second'])} seconds" if found["second"] else ""
    return f"{hour}{minutes}{seconds}" + (f" {half[0]} m" if half else "")


def _date(found: re.Match[str]) -> str:
    return f"{_MONTHS[int(found['month']) - 1]} {int(found['day'])}, {found['year']}"


def _digits(found: re.Match[str]) -> str:
    """Groups of digits, digit by digit, with a breath between the groups."""
    groups = [" ".join(group) for group in re.findall(r"\d+", found[0])]
    return ("plus " if found[0].startswith("+") else "") + ", ".join(groups)


def _decade(found: re.Match[str]) -> str:
    century, decade = found["century"] or "", int(found["decade"])
    if century and int(century) % 10 == 0 and not decade:  # 2000s
        return "two thousands"
    return f"{century} {_DECADES[decade]}".strip()


def _year(found: re.Match[str]) -> str:
    century, rest = found["century"], int(found["rest"])
    return f"{found['before']}{century} {'hundred' if not rest else f'oh {rest}' if rest < 10 else rest}"


def _rule(pattern: str, said: str | Callable[[re.Match[str]], str]) -> _Rule:
    return re.compile(pattern), said


RULES: Final[list[_Rule]] = [  # the order matters: what is longer comes first
    _rule(r"(?<=\d),(?=\d{3}(?!\d))", ""),  # 1,234
    _rule("[½⅓⅔¼¾⅛]", lambda found: f" {_VULGAR[found[0]]}"),
    _rule(r"\b(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])(?!\d)", _date),
    _rule(r"\+\d[\d ()/-]{5,20}\d\b", _digits),
    _rule(r"(?<![\d-])\(?\d{3}\)?[ -]\d{3}-\d{4}\b", _digits),
    _rule(
        r"\b(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:])(?:\s?(?P<half>[AaPp])"
        + _M
        + r")?",
        _clock,
    ),
    _rule(r"\b(\d{1,2})\s?([AaPp])" + _M, lambda found: f"{found[1]} {found[2].lower()} m"),
    _rule(r"\b(\d+):(\d+)\b", r"\1 to \2"),
    _rule(r"(?<=\d)(?:-|\s?[–—]\s?)(?=[$€£]?\d)", " to "),
    _rule(rf"(?<=\d) - (?=\d{{1,15}}(?:\.\d{{1,15}})?\s?(?:{_UNIT})(?!\w))", " to "),
    _rule(
        rf"(?P<sign>{_SIGN})\s?(?P<number>{_NUMBER})(?:\s?(?P<scale>thousand|million|billion|trillion|[kKmMbBtT]|bn|tn)\b)?",
        _money,
    ),
    _rule(rf"(?P<number>{_NUMBER})(?P<scale>)\s?(?P<sign>{_SIGN})", _money),
    _rule(r"(?<![\d.])['’]?(?P<century>1\d|20)?(?P<decade>[2-9]|(?<=\d)[01])0['’]?s\b", _decade),
    _rule(
        r"\b(?P<before>(?:[Ii]n|[Ss]ince|[Uu]ntil|[Bb]y|[Bb]efore|[Aa]fter|[Ff]rom|[Dd]uring|[Yy]ear|"
        + "|".join(_MONTHS)
        + r")(?:\s\d{1,2},)?\s)(?P<century>1[1-9])(?P<rest>\d\d)\b(?![.:]\d)",
        _year,
    ),
    _rule(r"\b[vV](?:ersion )?(?=\d)", "version "),
    _rule(r"(?<=\bversion )\d+(?:\.\d+)+", lambda found: found[0].replace(".", " point ")),
    _rule(r"\b\d+(?:\.\d+){2,}\b", lambda found: found[0].replace(".", " dot ")),
    _rule(r"\b\d+/\d+\b(?!/)", lambda found: _FRACTIONS.get(found[0]) or found[0].replace("/", " over ")),
    _rule(r"(?<=\d)\s?[xX×]\s?(?=\d{3})", " by "),  # 1920x1080
    _rule(r"(?<=\d)\s?[xX×]\s?(?=\d)", " times "),
    _rule(r"(?<=\d)[xX×](?!\w)", " times"),
    _rule(r"(?<=\d) [-−] (?=\d)", " minus "),
    _rule(r"(?<![\w)])[-−](?=\d)", "minus "),
    _rule(r"(?<=\d)\s?\*\s?(?=\d)", " times "),
    _rule(r"(?<=[\w)])\s?\^\s?(?=\d)", " to the power of "),
    _rule(
        rf"(?P<number>{_NUMBER})\s?(?P<unit>{_UNIT})(?![\w/²³])",
        lambda found: _count(found["number"], UNITS[found["unit"]]),
    ),
    _rule(r"(?<=\d)k\b", " thousand"),
    _rule(r"#\s?(?=\d)|№\s?(?=\d)|\bNo\.\s?(?=\d)", "number "),
]


def spoken_numbers(text: str) -> str:
    """`text` with its numbers' company in words."""
    for pattern, said in RULES:
        text = pattern.sub(said, text)
    return text
