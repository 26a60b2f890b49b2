# SPDX-License-Identifier: Apache-2.0
"""When the pattern of a trigger is due: pure, the clock is an argument.

A pattern is iCalendar text (RFC 5545) or a crontab line, read by icalendar and croniter and walked by dateutil and
croniter on the wall clock of its time zone. What the wall clock means is decided here, once for both:

* a run at a time that the clock skips, in the gap of a change of the clock, is due at the first instant after the gap;
* a run at a time that comes twice, in an overlap, is due once, the first time.

Instants are naive datetimes in UTC, of whole seconds.
"""

import datetime
import itertools
import re
import zoneinfo
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Protocol

import icalendar
from croniter import croniter
from dateutil import rrule

from karbor import exception

FORMATS = ('calendar', 'crontab')
TIME_FORMAT = '%Y-%m-%d %H:%M:%S'

# What a pattern may hold, so that reading it is a matter of milliseconds.
MOST_CHARACTERS, MOST_RULES, MOST_COUNTED, MOST_INTERVAL = 16384, 20, 1000, 1_000_000
YEARS = (1900, 2999)
# A pattern that has no run in so many years is refused: the rarest date, a 29th of February on one day of the week,
# comes after 40 years at the latest.
HORIZON_YEARS = 40
# The calendar comes again after 28 years. Patterns with more runs than this are judged by their times of day alone.
CYCLE = datetime.timedelta(days=28 * 365 + 7)
MOST_WALKED = 12000

SECOND, DAY = datetime.timedelta(seconds=1), datetime.timedelta(days=1)
UTC = datetime.UTC


class Pattern(Protocol):
    """A pattern on its wall clock."""

    @property
    def times(self) -> frozenset[int] | None:
        """The seconds of the day at which it can be due at all, None where they are too many."""

    @property
    def least(self) -> int:
        """The seconds that its rule alone keeps between two runs, 0 where it tells nothing."""

    def walls(self, after: datetime.datetime) -> Iterator[datetime.datetime]:
        """The times on the wall clock later than ``after``, ascending, each once."""


@dataclass(frozen=True)
class Recurrence:
    """A pattern in its time zone, from ``start`` to ``end``, both inclusive."""

    pattern: Pattern
    zone: zoneinfo.ZoneInfo
    start: datetime.datetime
    end: datetime.datetime | None

    def next_run(self, after: datetime.datetime) -> datetime.datetime | None:
        """The first run strictly later than ``after``, None when there is none any more."""
        floor = max(after.replace(microsecond=0), self.start - SECOND)
        try:
            for wall in self.pattern.walls(_wall(self.zone, floor)):
                due = _instant(self.zone, wall)
                return due if self.end is None or due <= self.end else None
        except OverflowError:  # behind the year 9999
            pass
        return None

    def is_sparse(self, seconds: int, after: datetime.datetime) -> bool:
        """Whether two runs later than ``after`` are never less than ``seconds`` apart on the wall clock, for sure: by
        the interval of the rule, else by the times of day, else by looking at every run until the calendar repeats.

        A change of the clock may bring two runs closer to each other than that.
        """
        if self.pattern.least >= seconds or _least_gap(self.pattern.times) >= seconds:
            return True
        floor = max(after.replace(microsecond=0), self.start - SECOND)
        last = _wall(self.zone, min(floor + CYCLE, self.end or datetime.datetime.max))
        walls = itertools.takewhile(lambda wall: wall <= last, self.pattern.walls(_wall(self.zone, floor)))
        for seen, (one, two) in enumerate(itertools.pairwise(walls)):
            if (two - one).total_seconds() < seconds or seen > MOST_WALKED:
                return False
        return True


def parse(
    properties: Mapping[str, Any],
    start: datetime.datetime,
    default_format: str = 'calendar',
    field: str = 'properties',
) -> Recurrence:
    """What the properties of a trigger (`format`, `pattern`, `start_time`, `end_time`, `timezone`) say.

    ``start`` stands for a `start_time` that is not there, ``default_format`` for a format that is none of `FORMATS`, as
    in a row of Karbor 1.6. Raises InvalidInput with a message for the user, about ``field``.
    """
    began = moment(properties, 'start_time', field) or start.replace(microsecond=0)
    end = moment(properties, 'end_time', field)
    if end is not None and end <= began:
        raise exception.InvalidInput(field=f'{field}/end_time', reason='must be later than start_time')
    format = properties.get('format')
    try:
        pattern, zone = _read(
            str(format) if format in FORMATS else default_format,
            str(properties.get('pattern', '')),
            _zone(str(properties.get('timezone') or 'UTC'), 'timezone'),
            began,
        )
    except _Wrong as wrong:
        raise exception.InvalidInput(field=f'{field}/{wrong.field}', reason=wrong.reason) from None
    return Recurrence(pattern, zone, began, end)


def moment(properties: Mapping[str, Any], name: str, field: str) -> datetime.datetime | None:
    """The time of this property, None where it is missing. Raises InvalidInput."""
    text = properties.get(name)
    if text is None:
        return None
    try:
        found = datetime.datetime.strptime(str(text), TIME_FORMAT)
    except ValueError:
        found = datetime.datetime.min
    if name == 'end_time' and found.year > YEARS[0] or YEARS[0] <= found.year <= YEARS[1]:
        return found
    raise exception.InvalidInput(
        field=f'{field}/{name}', reason=f'must be a time in UTC, YYYY-MM-DD HH:MM:SS, from the year {YEARS[0]} on'
    )


class _Wrong(Exception):
    """What is wrong with a pattern, or with another property."""

    def __init__(self, reason: str, field: str = 'pattern') -> None:
        self.reason, self.field = reason, field
        super().__init__(reason)


@lru_cache(maxsize=4096)
def _read(
    format: str, text: str, zone: zoneinfo.ZoneInfo, start: datetime.datetime
) -> tuple[Pattern, zoneinfo.ZoneInfo]:
    """The pattern, and the zone that it is in: its own, else ``zone``. Raises _Wrong."""
    if len(text) > MOST_CHARACTERS:
        raise _Wrong(f'must have at most {MOST_CHARACTERS} characters')
    text = text.replace('\\r', '\r').replace('\\n', '\n')  # as shells send them
    return _crontab(text, zone) if format == 'crontab' else _calendar(text, zone, start)


# --- the wall clock of a zone ------------------------------------------------------------------------


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _zone(name: str, field: str = 'pattern') -> zoneinfo.ZoneInfo:
    if name not in _zones():
        raise _Wrong('time zones are those of the IANA database, such as Europe/Berlin', field)
    return zoneinfo.ZoneInfo(name)


def _local(zone: zoneinfo.ZoneInfo, instant: datetime.datetime) -> datetime.datetime:
    return instant.replace(tzinfo=UTC).astimezone(zone)


def _wall(zone: zoneinfo.ZoneInfo, instant: datetime.datetime) -> datetime.datetime:
    """The last time on the wall clock that is due at ``instant`` or before it."""
    local = _local(zone, instant)
    wall = local.replace(tzinfo=None, fold=0)
    if not local.fold:
        return wall
    # The second time round: everything up to the end of the overlap was due the first time.
    before = _offset(local.replace(fold=0))
    return _change(zone, wall - before, instant) + before - SECOND


def _instant(zone: zoneinfo.ZoneInfo, wall: datetime.datetime) -> datetime.datetime:
    """When ``wall`` is due."""
    local = wall.replace(tzinfo=zone)
    due = wall - _offset(local)
    if _local(zone, due).replace(tzinfo=None, fold=0) == wall:
        return due
    return _change(zone, wall - _offset(local.replace(fold=1)), due)


def _change(zone: zoneinfo.ZoneInfo, before: datetime.datetime, after: datetime.datetime) -> datetime.datetime:
    """The first instant with the offset of ``after``; the zone changes it once since ``before``."""
    offset = _offset(_local(zone, after))
    while after - before > SECOND:
        middle = before + datetime.timedelta(seconds=int((after - before).total_seconds()) // 2)
        if _offset(_local(zone, middle)) == offset:
            after = middle
        else:
            before = middle
    return after


def _offset(local: datetime.datetime) -> datetime.timedelta:
    return local.utcoffset() or datetime.timedelta()


def _least_gap(times: Iterable[int] | None) -> int:
    """The fewest seconds between two of these times of day, of one day or of two in a row."""
    ordered = sorted(times or ())
    if not ordered:
        return 0
    return min(two - one for one, two in itertools.pairwise([*ordered, ordered[0] + 24 * 3600]))


def _times(hours: Iterable[int], minutes: Iterable[int], seconds: Iterable[int]) -> frozenset[int]:
    return frozenset(h * 3600 + m * 60 + s for h, m, s in itertools.product(hours, minutes, seconds))


# --- crontab -----------------------------------------------------------------------------------------

_ZONE_OF_CRONTAB = re.compile(r'\s*CRON_TZ=(\S+)\s+(.*)', re.DOTALL)


@dataclass(frozen=True)
class _Crontab:
    line: str
    times: frozenset[int]
    least: int = 0

    def walls(self, after: datetime.datetime) -> Iterator[datetime.datetime]:
        return croniter(
            self.line, after, ret_type=datetime.datetime, max_years_between_matches=HORIZON_YEARS
        ).all_next()


def _crontab(text: str, zone: zoneinfo.ZoneInfo) -> tuple[_Crontab, zoneinfo.ZoneInfo]:
    named = _ZONE_OF_CRONTAB.fullmatch(text)
    if named:
        zone, text = _zone(named[1]), named[2]
    fields = text.split()
    # Croniter has more than crontab has: fields for seconds and years, and words for a time at random.
    if len(fields) != 5 or any(field[0] in 'hHrR' for field in fields):
        raise _Wrong('must have five fields: minute, hour, day of month, month, day of week')
    try:
        minutes, hours, *_ = croniter.expand(' '.join(fields))[0]
    except (ValueError, KeyError, TypeError):
        raise _Wrong('must be a crontab line, such as 30 2 * * 1-5') from None
    spans = (range(24) if hours == ['*'] else hours, range(60) if minutes == ['*'] else minutes)
    pattern = _Crontab(' '.join(fields), _times(*spans, [0]))
    if next(pattern.walls(datetime.datetime(2000, 1, 1)), None) is None:
        raise _Wrong('is never due')
    return pattern, zone


# --- iCalendar ---------------------------------------------------------------------------------------

_FREQUENCIES = ('YEARLY', 'MONTHLY', 'WEEKLY', 'DAILY', 'HOURLY', 'MINUTELY', 'SECONDLY')
_STEPS = {rrule.WEEKLY: 7 * DAY, rrule.DAILY: DAY, rrule.HOURLY: 3600 * SECOND, rrule.MINUTELY: 60 * SECOND}
_STEPS[rrule.SECONDLY] = SECOND
_WEEKDAYS = {'MO': rrule.MO, 'TU': rrule.TU, 'WE': rrule.WE, 'TH': rrule.TH, 'FR': rrule.FR, 'SA': rrule.SA}
_WEEKDAYS['SU'] = rrule.SU
# Part of a rule -> dateutil's name of it, and the least and greatest value; below zero they count from the end.
_NUMBERS = {
    'BYMONTH': ('bymonth', 1, 12),
    'BYWEEKNO': ('byweekno', -53, 53),
    'BYYEARDAY': ('byyearday', -366, 366),
    'BYMONTHDAY': ('bymonthday', -31, 31),
    'BYHOUR': ('byhour', 0, 23),
    'BYMINUTE': ('byminute', 0, 59),
    'BYSECOND': ('bysecond', 0, 59),
    'BYSETPOS': ('bysetpos', -366, 366),
}
_DATES = ('bymonth', 'byweekno', 'byyearday', 'bymonthday', 'byweekday')
_ONE_PERIOD = 120_000  # an INTERVAL with which the second period lies behind the year 9999, where dateutil ends


@dataclass(frozen=True)
class _Rule:
    """An RRULE: ``options`` are dateutil's, complete but for `dtstart` and `until`."""

    start: datetime.datetime
    options: dict[str, Any]
    until: datetime.datetime | None = None

    @property
    def frequency(self) -> int:
        return int(self.options['freq'])

    @property
    def interval(self) -> int:
        return int(self.options['interval'])

    def near(self, after: datetime.datetime) -> rrule.rrule:
        """The rule with a start shortly before ``after``, in step with its own: dateutil walks from the start."""
        start, steps = self.start, self._periods(after) // self.interval - 1
        if steps > 0:
            start = self._moved(steps * self.interval)
        return rrule.rrule(dtstart=start, until=self.until, **self.options)

    def _periods(self, after: datetime.datetime) -> int:
        if self.frequency == rrule.YEARLY:
            return after.year - self.start.year
        if self.frequency == rrule.MONTHLY:
            return (after.year - self.start.year) * 12 + after.month - self.start.month
        return (after - self.start) // _STEPS[self.frequency]

    def _moved(self, periods: int) -> datetime.datetime:
        """The start so many periods later; of a year or month the first day, which each of them has."""
        if self.frequency == rrule.YEARLY:
            return self.start.replace(year=self.start.year + periods, month=1, day=1)
        if self.frequency == rrule.MONTHLY:
            years, month = divmod(self.start.month - 1 + periods, 12)
            return self.start.replace(year=self.start.year + years, month=month + 1, day=1)
        return self.start + periods * _STEPS[self.frequency]

    def occurs(self) -> bool:
        """Whether it has a time within the horizon. Dateutil alone would look until the year 9999, for many seconds."""
        if self.frequency <= rrule.MONTHLY:
            return any(True for period in self._first_periods() for _ in period)
        if not any(name in self.options for name in _DATES):
            return next(iter(self.near(self.start)), None) is not None
        span = _STEPS[self.frequency].days
        begin = self.start.toordinal() - (self.start.weekday() - self.options['wkst']) % span
        in_step = (day for day in self._days() if (day - begin) % (self.interval * span) < span)
        return next(in_step, None) is not None

    def _first_periods(self) -> Iterator[rrule.rrule]:
        """The years or months of the rule within the horizon, each as a rule of its own."""
        of_a_year = 1 if self.frequency == rrule.YEARLY else 12
        for number in range(HORIZON_YEARS * of_a_year):
            periods = number * self.interval
            if self.start.year + periods // of_a_year + 1 > datetime.MAXYEAR:
                return
            start = self._moved(periods) if number else self.start
            yield rrule.rrule(dtstart=start, **self.options | {'interval': _ONE_PERIOD})

    def _days(self) -> Iterator[int]:
        """The days within the horizon that its dates allow, as ordinals."""
        wanted: dict[str, Any] = {'byweekday': range(7)}
        wanted |= {name: self.options[name] for name in _DATES if name in self.options}
        for year in range(self.start.year, self.start.year + HORIZON_YEARS):
            first = datetime.datetime(year, 1, 1)
            for day in rrule.rrule(rrule.YEARLY, dtstart=first, interval=_ONE_PERIOD, **wanted):
                if day.date() >= self.start.date():
                    yield day.toordinal()

    @property
    def times(self) -> frozenset[int] | None:
        if self.frequency == rrule.SECONDLY:
            return None
        hours = self.options.get('byhour') or (range(24) if self.frequency >= rrule.HOURLY else [self.start.hour])
        minutes = range(60) if self.frequency >= rrule.MINUTELY else [self.start.minute]
        seconds = self.options.get('bysecond') or [self.start.second]
        return _times(hours, self.options.get('byminute') or minutes, seconds)

    @property
    def least(self) -> int:
        """The interval, unless parts of the rule make several times of each of its steps."""
        within = {rrule.DAILY: ('byhour', 'byminute', 'bysecond'), rrule.HOURLY: ('byminute', 'bysecond')}
        names = within.get(self.frequency, ('bysecond',))
        if self.frequency < rrule.DAILY or any(len(self.options.get(name, ())) > 1 for name in names):
            return 0
        return int((self.interval * _STEPS[self.frequency]).total_seconds())


@dataclass(frozen=True)
class _Calendar:
    rules: tuple[_Rule, ...]
    dates: tuple[datetime.datetime, ...]
    excluded: tuple[datetime.datetime, ...]
    times: frozenset[int] | None
    least: int

    def walls(self, after: datetime.datetime) -> Iterator[datetime.datetime]:
        found = rrule.rruleset()
        for rule in self.rules:
            found.rrule(rule.near(after))
        for date in self.dates:
            if date > after:
                found.rdate(date)
        for date in self.excluded:
            if date > after:
                found.exdate(date)
        return found.xafter(after)


def _calendar(text: str, zone: zoneinfo.ZoneInfo, start: datetime.datetime) -> tuple[_Calendar, zoneinfo.ZoneInfo]:
    event = _event(text)
    zone, begin = _begin(event, zone, start)
    recurs = _several(event, 'RRULE')
    if not 1 <= len(recurs) <= MOST_RULES:
        raise _Wrong(f'must have a VEVENT with 1 to {MOST_RULES} RRULE')
    try:
        rules = tuple(_rule(recur, begin, zone) for recur in recurs)
        dates, excluded = (tuple(_walls_of(event, name, zone)) for name in ('RDATE', 'EXDATE'))
        if not all(rule.occurs() for rule in rules):
            raise _Wrong('RRULE: is never due')
    except (ValueError, TypeError, IndexError, OverflowError):  # dateutil, about parts that exclude each other
        raise _Wrong('RRULE: is never due, or has a part that RFC 5545 does not allow') from None
    times = [rule.times for rule in rules]
    known = None if None in times else frozenset[int]().union(*times)  # type: ignore[arg-type]
    if known is not None:
        known |= {date.hour * 3600 + date.minute * 60 + date.second for date in dates}
    least = rules[0].least if len(rules) == 1 and not dates else 0
    return _Calendar(rules, dates, excluded, known, least), zone


def _event(text: str) -> Any:
    try:
        found = icalendar.Component.from_ical(text, multiple=True)
        events = [event for component in found for event in component.walk('VEVENT')]
    except Exception:  # noqa: BLE001  a parser of what a user has typed, whose errors have no base
        events = []
    if not events:
        raise _Wrong('must be iCalendar text with a VEVENT that has an RRULE')
    event = events[0]
    for name, _ in event.errors:
        if name in ('RRULE', 'DTSTART', 'RDATE', 'EXDATE'):
            raise _Wrong(f'{name}: cannot be read; see RFC 5545')
    if 'EXRULE' in event:
        raise _Wrong('EXRULE: is not a part of RFC 5545')
    return event


def _several(event: Any, name: str) -> list[Any]:
    found = event.get(name, [])
    return found if isinstance(found, list) else [found]


def _begin(
    event: Any, zone: zoneinfo.ZoneInfo, start: datetime.datetime
) -> tuple[zoneinfo.ZoneInfo, datetime.datetime]:
    """The zone of the pattern, and where its rules begin on the wall clock: DTSTART, else ``start``."""
    found = _several(event, 'DTSTART')
    if not found:
        return zone, _local(zone, start).replace(tzinfo=None, fold=0)
    if len(found) > 1:
        raise _Wrong('DTSTART: there must be one')
    own = _zone_of(found[0].dt, found[0].params)
    begin = _wall_of(found[0].dt, own or zone)
    if not YEARS[0] <= begin.year <= YEARS[1]:
        raise _Wrong(f'DTSTART: must be from {YEARS[0]} to {YEARS[1]}')
    return own or zone, begin


def _zone_of(value: Any, params: Mapping[str, Any]) -> zoneinfo.ZoneInfo | None:
    """The zone that a time of the text is in, None for one that floats."""
    named = getattr(value, 'tzinfo', None)
    if named is None and 'TZID' not in params:
        return None
    return _zone(getattr(named, 'key', None) or str(params.get('TZID')))


def _wall_of(value: Any, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """A date or time of the text on the wall clock of ``zone``; a date is its midnight."""
    if not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day)
    if value.tzinfo is None or value.tzinfo == zone:
        return value.replace(tzinfo=None, fold=0)
    return value.astimezone(zone).replace(tzinfo=None, fold=0)


def _walls_of(event: Any, name: str, zone: zoneinfo.ZoneInfo) -> Iterator[datetime.datetime]:
    values = [(value.dt, listed.params) for listed in _several(event, name) for value in listed.dts]
    for value, params in values:
        begin = value[0] if isinstance(value, tuple) else value  # of a period
        _zone_of(begin, params)
        yield _wall_of(begin, zone)


def _rule(recur: Any, start: datetime.datetime, zone: zoneinfo.ZoneInfo) -> _Rule:
    parts = {name.upper(): [value] if not isinstance(value, list) else value for name, value in recur.items()}
    frequency = _FREQUENCIES.index(str(parts.pop('FREQ', [''])[0]).upper())
    options: dict[str, Any] = {
        'freq': frequency,
        'interval': _number(parts, 'INTERVAL', MOST_INTERVAL),
        'wkst': _FIRST_DAYS[str(parts.pop('WKST', ['MO'])[0]).upper()],
    }
    until, count = parts.pop('UNTIL', None), 'COUNT' in parts and _number(parts, 'COUNT', MOST_COUNTED)
    if until and count:
        raise _Wrong('RRULE: must not have both UNTIL and COUNT')
    if 'BYDAY' in parts:
        options['byweekday'] = [_WEEKDAYS[d.weekday](d.relative) for d in parts.pop('BYDAY')]
    for name in [name for name in parts if name in _NUMBERS]:
        key, least, most = _NUMBERS[name]
        options[key] = sorted({int(value) for value in parts.pop(name)})
        if not all(least <= value <= most and (value or least == 0) for value in options[key]):
            raise _Wrong(f'RRULE: {name} must be {least} to {most}')
    if parts:
        raise _Wrong(f'RRULE: unknown part {next(iter(parts))[:40]}')
    _check_parts(options)
    options = _by_day(options | _from_start(options, start), start)
    rule = _Rule(start, options, _until(until[0], zone) if until else None)
    return _counted(rule, count) if count else rule


_FIRST_DAYS = {name: day.weekday for name, day in _WEEKDAYS.items()}


def _number(parts: dict[str, Any], name: str, most: int) -> int:
    value = int(parts.pop(name, [1])[0])
    if not 1 <= value <= most:
        raise _Wrong(f'RRULE: {name} must be 1 to {most}')
    return value


def _check_parts(options: Mapping[str, Any]) -> None:
    """What RFC 5545 section 3.3.10 does not allow together and would mean something else, and what takes too long."""
    frequency = options['freq']
    most = {rrule.YEARLY: 53, rrule.MONTHLY: 5}.get(frequency, 0)
    if any(abs(day.n or 0) > most for day in options.get('byweekday', ())):
        raise _Wrong('RRULE: BYDAY may have a number up to 5 with FREQ=MONTHLY, up to 53 with FREQ=YEARLY')
    if frequency > rrule.MONTHLY and 'bysetpos' in options:
        raise _Wrong('RRULE: BYSETPOS needs FREQ=MONTHLY or YEARLY')
    if frequency == rrule.SECONDLY and len(options) > 3:  # dateutil goes through every second of the days between
        raise _Wrong('RRULE: FREQ=SECONDLY takes no BY parts; FREQ=MINUTELY with BYSECOND does')
    if frequency != rrule.YEARLY and 'byweekno' in options:
        raise _Wrong('RRULE: BYWEEKNO needs FREQ=YEARLY')


def _from_start(options: Mapping[str, Any], start: datetime.datetime) -> dict[str, Any]:
    """The dates that the rule leaves to its start. Times, and the day of a week, stay with a start that is moved."""
    if options['freq'] == rrule.YEARLY and 'byweekno' in options and 'byweekday' not in options:
        return {'byweekday': [start.weekday()]}
    if options['freq'] > rrule.MONTHLY or any(name in options for name in _DATES[1:]):
        return {}
    month = {'bymonth': options.get('bymonth') or [start.month]} if options['freq'] == rrule.YEARLY else {}
    return {'bymonthday': [start.day]} | month


def _by_day(options: dict[str, Any], start: datetime.datetime) -> dict[str, Any]:
    """A rule for every so many hours or minutes of some days, as a rule for these days: dateutil goes by days then."""
    frequency, interval = options['freq'], options['interval']
    if frequency not in (rrule.HOURLY, rrule.MINUTELY) or not any(name in options for name in _DATES):
        return options
    name, base, first = ('byhour', 24, start.hour) if frequency == rrule.HOURLY else ('byminute', 60, start.minute)
    if base % interval:
        raise _Wrong(f'RRULE: with BYDAY or another part for days INTERVAL must divide {base}')
    in_step = [value for value in options.get(name, range(base)) if (value - first) % interval == 0]
    if not in_step:
        raise _Wrong('RRULE: is never due')
    whole = {'byhour': range(24)} if frequency == rrule.MINUTELY else {}
    return whole | options | {'freq': rrule.DAILY, 'interval': 1, name: in_step}


def _until(value: Any, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """The last time on the wall clock; a date is meant with its whole day."""
    if not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day, 23, 59, 59)
    if value.tzinfo is None:
        return value
    return _wall(zone, value.astimezone(UTC).replace(tzinfo=None))


def _counted(rule: _Rule, count: int) -> _Rule:
    """The rule with the time of its last run in place of COUNT, which would have to be counted from the start anew.
    It is over at the horizon in any case.
    """
    if not rule.occurs():
        return rule
    horizon = rule.start.replace(year=rule.start.year + HORIZON_YEARS, month=1, day=1)
    runs = rrule.rrule(dtstart=rule.start, until=horizon, **rule.options)
    last = deque(itertools.islice(runs, count), maxlen=1)
    return _Rule(rule.start, rule.options, last[0] if last else rule.start)
