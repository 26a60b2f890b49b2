# SPDX-License-Identifier: Apache-2.0
"""When patterns are due: the examples of RFC 5545, changes of the clock, and what holds for every pattern."""

import datetime
import time
import zoneinfo
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karbor import exception, recurrence

LONG_AGO = datetime.datetime(1990, 1, 1)
NOW = datetime.datetime(2026, 11, 21, 19, 0, 1)
NEW_YORK = zoneinfo.ZoneInfo('America/New_York')


def parsed(pattern, format='calendar', start=LONG_AGO, **properties):
    return recurrence.parse({'format': format, 'pattern': pattern} | properties, start)


def event(*lines):
    return '\r\n'.join(['BEGIN:VEVENT', *lines, 'END:VEVENT', ''])


def runs(found, count, after=LONG_AGO):
    """The first runs behind ``after``, fewer where there are no more."""
    seen = []
    while len(seen) < count and (after := found.next_run(after)) is not None:
        seen.append(after)
    return seen


def refused(pattern, format='calendar', **properties):
    with pytest.raises(exception.InvalidInput) as raised:
        parsed(pattern, format, **properties)
    assert len(raised.value.text) < 250 and '\n' not in raised.value.text
    return raised.value.text


# --- RFC 5545, section 3.8.5.3. Its DTSTART is TZID=America/New_York:19970902T090000 unless said otherwise.

_DAYS = {'Sep': 9, 'Oct': 10, 'Nov': 11, 'Dec': 12, 'Jan': 1, 'Feb': 2, 'Mar': 3, 'Apr': 4, 'May': 5, 'Jun': 6}
_DAYS |= {'Jul': 7, 'Aug': 8}


def days(text, at='09:00'):
    """'1997 Sep 2 3 Oct 4; 1998 …' as moments on the wall clock at ``at``."""
    hour, minute = map(int, at.split(':'))
    found = []
    for part in text.split(';'):
        year, *words = part.split()
        month = 0
        for word in words:
            if word in _DAYS:
                month = _DAYS[word]
            else:
                found.append(datetime.datetime(int(year), month, int(word), hour, minute))
    return found


def span(first, last, step=1):
    """The numbers from first to last, as words."""
    return ' '.join(map(str, range(first, last + 1, step)))


def clock(day, *times):
    """These times of one day."""
    return [datetime.datetime.fromisoformat(f'{day} {time}') for time in times]


_LONG_MONTHS = {1: 31, 3: 31, 5: 31, 7: 31, 8: 31, 10: 31, 12: 31}
EVERY_20_MINUTES = [
    datetime.datetime(1997, 9, day, hour, minute) for day in (2, 3) for hour in range(9, 17) for minute in (0, 20, 40)
]
RFC = {
    'daily for 10 occurrences': ('FREQ=DAILY;COUNT=10', None, days(f'1997 Sep {span(2, 11)}'), True),
    'daily until December 24, 1997': (
        'FREQ=DAILY;UNTIL=19971224T000000Z',
        None,
        days(f'1997 Sep {span(2, 30)} Oct {span(1, 31)} Nov {span(1, 30)} Dec {span(1, 23)}'),
        True,
    ),
    'every other day': (
        'FREQ=DAILY;INTERVAL=2',
        None,
        days(f'1997 Sep {span(2, 30, 2)} Oct {span(2, 30, 2)} Nov {span(1, 29, 2)} Dec 1 3'),
        False,
    ),
    'every 10 days, 5 occurrences': (
        'FREQ=DAILY;INTERVAL=10;COUNT=5',
        None,
        days('1997 Sep 2 12 22 Oct 2 12'),
        True,
    ),
    'every day in January, for 3 years, yearly': (
        'FREQ=YEARLY;UNTIL=20000131T140000Z;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA',
        '19980101T090000',
        days(f'1998 Jan {span(1, 31)}; 1999 Jan {span(1, 31)}; 2000 Jan {span(1, 31)}'),
        True,
    ),
    'every day in January, for 3 years, daily': (
        'FREQ=DAILY;UNTIL=20000131T140000Z;BYMONTH=1',
        '19980101T090000',
        days(f'1998 Jan {span(1, 31)}; 1999 Jan {span(1, 31)}; 2000 Jan {span(1, 31)}'),
        True,
    ),
    'weekly for 10 occurrences': (
        'FREQ=WEEKLY;COUNT=10',
        None,
        days('1997 Sep 2 9 16 23 30 Oct 7 14 21 28 Nov 4'),
        True,
    ),
    'weekly until December 24, 1997': (
        'FREQ=WEEKLY;UNTIL=19971224T000000Z',
        None,
        days('1997 Sep 2 9 16 23 30 Oct 7 14 21 28 Nov 4 11 18 25 Dec 2 9 16 23'),
        True,
    ),
    'every other week': (
        'FREQ=WEEKLY;INTERVAL=2;WKST=SU',
        None,
        days('1997 Sep 2 16 30 Oct 14 28 Nov 11 25 Dec 9 23; 1998 Jan 6 20 Feb 3 17'),
        False,
    ),
    'weekly on Tuesday and Thursday for five weeks, until': (
        'FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH',
        None,
        days('1997 Sep 2 4 9 11 16 18 23 25 30 Oct 2'),
        True,
    ),
    'weekly on Tuesday and Thursday for five weeks, counted': (
        'FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH',
        None,
        days('1997 Sep 2 4 9 11 16 18 23 25 30 Oct 2'),
        True,
    ),
    'every other week on Monday, Wednesday and Friday until December 24': (
        'FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR',
        '19970901T090000',
        days('1997 Sep 1 3 5 15 17 19 29 Oct 1 3 13 15 17 27 29 31 Nov 10 12 14 24 26 28 Dec 8 10 12 22'),
        True,
    ),
    'every other week on Tuesday and Thursday, for 8 occurrences': (
        'FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH',
        None,
        days('1997 Sep 2 4 16 18 30 Oct 2 14 16'),
        True,
    ),
    'monthly on the first Friday for 10 occurrences': (
        'FREQ=MONTHLY;COUNT=10;BYDAY=1FR',
        '19970905T090000',
        days('1997 Sep 5 Oct 3 Nov 7 Dec 5; 1998 Jan 2 Feb 6 Mar 6 Apr 3 May 1 Jun 5'),
        True,
    ),
    'monthly on the first Friday until December 24, 1997': (
        'FREQ=MONTHLY;UNTIL=19971224T000000Z;BYDAY=1FR',
        '19970905T090000',
        days('1997 Sep 5 Oct 3 Nov 7 Dec 5'),
        True,
    ),
    'every other month on the first and last Sunday for 10 occurrences': (
        'FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU',
        '19970907T090000',
        days('1997 Sep 7 28 Nov 2 30; 1998 Jan 4 25 Mar 1 29 May 3 31'),
        True,
    ),
    'monthly on the second-to-last Monday for 6 months': (
        'FREQ=MONTHLY;COUNT=6;BYDAY=-2MO',
        '19970922T090000',
        days('1997 Sep 22 Oct 20 Nov 17 Dec 22; 1998 Jan 19 Feb 16'),
        True,
    ),
    'monthly on the third-to-the-last day of the month': (
        'FREQ=MONTHLY;BYMONTHDAY=-3',
        '19970928T090000',
        days('1997 Sep 28 Oct 29 Nov 28 Dec 29; 1998 Jan 29 Feb 26'),
        False,
    ),
    'monthly on the 2nd and 15th for 10 occurrences': (
        'FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15',
        None,
        days('1997 Sep 2 15 Oct 2 15 Nov 2 15 Dec 2 15; 1998 Jan 2 15'),
        True,
    ),
    'monthly on the first and last day for 10 occurrences': (
        'FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1',
        '19970930T090000',
        days('1997 Sep 30 Oct 1 31 Nov 1 30 Dec 1 31; 1998 Jan 1 31 Feb 1'),
        True,
    ),
    'every 18 months on the 10th to 15th for 10 occurrences': (
        'FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15',
        '19970910T090000',
        days(f'1997 Sep {span(10, 15)}; 1999 Mar {span(10, 13)}'),
        True,
    ),
    'every Tuesday, every other month': (
        'FREQ=MONTHLY;INTERVAL=2;BYDAY=TU',
        None,
        days('1997 Sep 2 9 16 23 30 Nov 4 11 18 25; 1998 Jan 6 13 20 27 Mar 3 10 17 24 31'),
        False,
    ),
    'yearly in June and July for 10 occurrences': (
        'FREQ=YEARLY;COUNT=10;BYMONTH=6,7',
        '19970610T090000',
        days('1997 Jun 10 Jul 10; 1998 Jun 10 Jul 10; 1999 Jun 10 Jul 10; 2000 Jun 10 Jul 10; 2001 Jun 10 Jul 10'),
        True,
    ),
    'every other year in January, February and March for 10 occurrences': (
        'FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3',
        '19970310T090000',
        days('1997 Mar 10; 1999 Jan 10 Feb 10 Mar 10; 2001 Jan 10 Feb 10 Mar 10; 2003 Jan 10 Feb 10 Mar 10'),
        True,
    ),
    'every third year on the 1st, 100th and 200th day for 10 occurrences': (
        'FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200',
        '19970101T090000',
        days('1997 Jan 1 Apr 10 Jul 19; 2000 Jan 1 Apr 9 Jul 18; 2003 Jan 1 Apr 10 Jul 19; 2006 Jan 1'),
        True,
    ),
    'every 20th Monday of the year': (
        'FREQ=YEARLY;BYDAY=20MO',
        '19970519T090000',
        days('1997 May 19; 1998 May 18; 1999 May 17'),
        False,
    ),
    'Monday of week number 20': (
        'FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO',
        '19970512T090000',
        days('1997 May 12; 1998 May 11; 1999 May 17'),
        False,
    ),
    'every Thursday in March': (
        'FREQ=YEARLY;BYMONTH=3;BYDAY=TH',
        '19970313T090000',
        days('1997 Mar 13 20 27; 1998 Mar 5 12 19 26; 1999 Mar 4 11 18 25'),
        False,
    ),
    'every Thursday, but only during June, July, and August': (
        'FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8',
        '19970605T090000',
        days(
            '1997 Jun 5 12 19 26 Jul 3 10 17 24 31 Aug 7 14 21 28;'
            ' 1998 Jun 4 11 18 25 Jul 2 9 16 23 30 Aug 6 13 20 27;'
            ' 1999 Jun 3 10 17 24 Jul 1 8 15 22 29 Aug 5 12 19 26'
        ),
        False,
    ),
    'every Friday the 13th': (
        'FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13',
        None,
        days('1998 Feb 13 Mar 13 Nov 13; 1999 Aug 13; 2000 Oct 13'),
        False,
    ),
    'the first Saturday that follows the first Sunday of the month': (
        'FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13',
        '19970913T090000',
        days('1997 Sep 13 Oct 11 Nov 8 Dec 13; 1998 Jan 10 Feb 7 Mar 7 Apr 11 May 9 Jun 13'),
        False,
    ),
    'every 4 years, the first Tuesday after a Monday in November': (
        'FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8',
        '19961105T090000',
        days('1996 Nov 5; 2000 Nov 7; 2004 Nov 2'),
        False,
    ),
    'the third instance of Tuesday, Wednesday or Thursday, for 3 months': (
        'FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3',
        '19970904T090000',
        days('1997 Sep 4 Oct 7 Nov 6'),
        True,
    ),
    'the second-to-last weekday of the month': (
        'FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2',
        '19970929T090000',
        days('1997 Sep 29 Oct 30 Nov 27 Dec 30; 1998 Jan 29 Feb 26 Mar 30'),
        False,
    ),
    # Until 17:00 in New York, which is meant; as printed, 170000Z, it would end at 13:00 there.
    'every 3 hours from 9:00 to 17:00 on a specific day': (
        'FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T210000Z',
        None,
        clock('1997-09-02', '09:00', '12:00', '15:00'),
        True,
    ),
    'every 15 minutes for 6 occurrences': (
        'FREQ=MINUTELY;INTERVAL=15;COUNT=6',
        None,
        clock('1997-09-02', '09:00', '09:15', '09:30', '09:45', '10:00', '10:15'),
        True,
    ),
    'every hour and a half for 4 occurrences': (
        'FREQ=MINUTELY;INTERVAL=90;COUNT=4',
        None,
        clock('1997-09-02', '09:00', '10:30', '12:00', '13:30'),
        True,
    ),
    'every 20 minutes from 9:00 to 16:40 every day, daily': (
        'FREQ=DAILY;BYHOUR=9,10,11,12,13,14,15,16;BYMINUTE=0,20,40',
        None,
        EVERY_20_MINUTES,
        False,
    ),
    'every 20 minutes from 9:00 to 16:40 every day, minutely': (
        'FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10,11,12,13,14,15,16',
        None,
        EVERY_20_MINUTES,
        False,
    ),
    'WKST makes a difference: Monday': (
        'FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO',
        '19970805T090000',
        days('1997 Aug 5 10 19 24'),
        True,
    ),
    'WKST makes a difference: Sunday': (
        'FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU',
        '19970805T090000',
        days('1997 Aug 5 17 19 31'),
        True,
    ),
    'an invalid date is ignored': (
        'FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5',
        '20070115T090000',
        days('2007 Jan 15 30 Feb 15 Mar 15 30'),
        True,
    ),
}


@pytest.mark.parametrize('name', RFC)
def test_runs_are_those_that_rfc_5545_lists(name):
    rule, start, expected, ends = RFC[name]
    found = parsed(event(f'DTSTART;TZID=America/New_York:{start or "19970902T090000"}', f'RRULE:{rule}'))
    seen = runs(found, len(expected) + ends)
    assert seen == [_utc(wall) for wall in expected]


@pytest.mark.parametrize('name', RFC)
def test_runs_are_the_same_when_the_search_begins_later(name):
    rule, start, expected, _ = RFC[name]
    found = parsed(event(f'DTSTART;TZID=America/New_York:{start or "19970902T090000"}', f'RRULE:{rule}'))
    for one, two in pairwise(map(_utc, expected)):
        assert found.next_run(one) == two
        assert found.next_run(two - datetime.timedelta(microseconds=1)) == two


def _utc(wall):
    return wall.replace(tzinfo=NEW_YORK).astimezone(datetime.UTC).replace(tzinfo=None)


# --- what else calendars hold


def test_dates_are_added_and_left_out_when_they_are_named():
    found = parsed(
        event(
            'DTSTART;TZID=America/New_York:19970902T090000',
            'RRULE:FREQ=DAILY;COUNT=4',
            'EXDATE;TZID=America/New_York:19970903T090000',
            'EXDATE:19970904T130000Z',
            'RDATE;TZID=America/New_York:19970902T180000,19970903T180000',
            'RDATE;VALUE=PERIOD:19980101T120000Z/PT1H',
        )
    )
    walls = days('1997 Sep 2') + days('1997 Sep 2 3', '18:00') + days('1997 Sep 5') + days('1998 Jan 1', '07:00')
    assert runs(found, 9) == [_utc(wall) for wall in walls]


def test_several_rules_make_one_series():
    found = parsed(event('DTSTART:20260105T100000Z', 'RRULE:FREQ=WEEKLY;BYDAY=MO', 'RRULE:FREQ=WEEKLY;BYDAY=MO,TU'))
    assert runs(found, 3) == [datetime.datetime(2026, 1, day, 10) for day in (5, 6, 12)]


CALENDAR = ('BEGIN:VCALENDAR', 'VERSION:2.0', 'PRODID:x', 'BEGIN:VTODO', 'SUMMARY:x', 'END:VTODO')
DAILY = ('BEGIN:VEVENT', 'SUMMARY:a long line that is', '  folded', 'RRULE:FREQ=DAILY;BYHOUR=3', 'END:VEVENT')
SECOND = ('BEGIN:VEVENT', 'RRULE:FREQ=DAILY;BYHOUR=9', 'END:VEVENT')


@pytest.mark.parametrize(
    'text',
    [
        '\n'.join(DAILY),
        '\r\n'.join(DAILY),
        '\\n'.join(DAILY),
        '\\r\\n'.join(DAILY) + '\\r\\n',
        '\r\n'.join([*DAILY, *SECOND]),
        '\r\n'.join([*CALENDAR, *DAILY, *SECOND, 'END:VCALENDAR', '']),
        '\n'.join(DAILY).replace('RRULE:FREQ=DAILY', 'rrule:freq=daily'),
    ],
)
def test_a_calendar_is_read_however_it_is_written(text):
    assert parsed(text).next_run(NOW) == datetime.datetime(2026, 11, 22, 3)


@pytest.mark.parametrize('rule', ['FREQ=DAILY;BYDAY=MO', 'FREQ=WEEKLY;BYDAY=MO', 'FREQ=MONTHLY;BYMONTHDAY=23'])
def test_patterns_of_the_dashboard_are_due_in_utc(rule):
    found = parsed(event(f'RRULE:{rule};BYHOUR=2;BYMINUTE=30'), start=NOW)
    assert found.next_run(NOW) == datetime.datetime(2026, 11, 23, 2, 30, 1)


@pytest.mark.parametrize(
    ('until', 'last'), [('20260104', 4), ('20260104T080000', 3), ('20260104T080000Z', 4), ('20260104T050000Z', 3)]
)
def test_a_rule_ends_with_its_last_time_or_its_last_day(until, last):
    found = parsed(event('DTSTART;TZID=Asia/Dubai:20260101T090000', f'RRULE:FREQ=DAILY;UNTIL={until}'))
    seen = runs(found, 9)
    assert seen[-1].day == last if not until.endswith('T050000Z') else len(seen) == 4


@pytest.mark.parametrize(
    ('lines', 'reason'),
    [
        ([], 'with 1 to 20 RRULE'),
        (['RRULE:FREQ=DAILY'] * 21, 'with 1 to 20 RRULE'),
        (['RDATE:20260101T000000Z'], 'with 1 to 20 RRULE'),
        (['RRULE:FREQ=SOMETIMES'], 'RRULE: cannot be read'),
        (['RRULE:INTERVAL=2'], 'RRULE: is never due, or has a part'),
        (['RRULE:FREQ=DAILY;UNTIL=never'], 'RRULE: cannot be read'),
        (['RRULE:FREQ=DAILY;RSCALE=HEBREW'], 'unknown part RSCALE'),
        (['RRULE:FREQ=DAILY;BYEASTER=1'], 'unknown part BYEASTER'),
        (['RRULE:FREQ=DAILY;BYHOUR=24'], 'BYHOUR must be 0 to 23'),
        (['RRULE:FREQ=DAILY;BYMINUTE=60'], 'BYMINUTE must be'),
        (['RRULE:FREQ=MONTHLY;BYMONTHDAY=0'], 'BYMONTHDAY must be -31 to 31'),
        (['RRULE:FREQ=DAILY;INTERVAL=0'], 'INTERVAL must be 1 to'),
        (['RRULE:FREQ=DAILY;COUNT=1001'], 'COUNT must be 1 to 1000'),
        (['RRULE:FREQ=DAILY;COUNT=1;UNTIL=20270101'], 'both UNTIL and COUNT'),
        (['RRULE:FREQ=WEEKLY;BYDAY=2MO'], 'BYDAY may have a number'),
        (['RRULE:FREQ=MONTHLY;BYDAY=6MO'], 'BYDAY may have a number'),
        (['RRULE:FREQ=WEEKLY;BYDAY=MO;BYSETPOS=1'], 'BYSETPOS needs'),
        (['RRULE:FREQ=MONTHLY;BYWEEKNO=1'], 'BYWEEKNO needs'),
        (['RRULE:FREQ=MINUTELY;INTERVAL=7;BYDAY=MO'], 'INTERVAL must divide 60'),
        (['RRULE:FREQ=HOURLY;INTERVAL=5;BYMONTH=1'], 'INTERVAL must divide 24'),
        (['RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30'], 'never due'),
        (['RRULE:FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30'], 'never due'),
        (['RRULE:FREQ=SECONDLY;BYHOUR=3'], 'FREQ=SECONDLY takes no BY parts'),
        (['RRULE:FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30'], 'never due'),
        (['DTSTART:20260106T000000Z', 'RRULE:FREQ=DAILY;INTERVAL=7;BYDAY=MO'], 'never due'),
        (['DTSTART:20260106T000000Z', 'RRULE:FREQ=MONTHLY;INTERVAL=12;BYMONTH=2'], 'never due'),
        (['RRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6'], 'never due'),
        (['RRULE:FREQ=HOURLY;INTERVAL=24;BYHOUR=5'], 'never due'),
        (['EXRULE:FREQ=WEEKLY', 'RRULE:FREQ=DAILY'], 'EXRULE'),
        (['DTSTART:soon', 'RRULE:FREQ=DAILY'], 'DTSTART: cannot be read'),
        (['DTSTART:20260101T000000', 'DTSTART:20270101T000000', 'RRULE:FREQ=DAILY'], 'DTSTART: there must be one'),
        (['DTSTART:00010101T000000', 'RRULE:FREQ=DAILY'], 'DTSTART: must be from 1900'),
        (['DTSTART;TZID=Nowhere/Land:20260101T000000', 'RRULE:FREQ=DAILY'], 'IANA'),
        (['RRULE:FREQ=DAILY', 'EXDATE;TZID=../../etc/passwd:20260101T000000'], 'IANA'),
        (['X-LONG:' + 'x' * 20000, 'RRULE:FREQ=DAILY'], 'at most 16384 characters'),
    ],
)
def test_a_calendar_is_refused_soon_when_it_is_wrong(lines, reason):
    began = time.process_time()
    assert reason in refused(event(*lines))
    assert time.process_time() - began < 1


@pytest.mark.parametrize('text', ['', 'x', 'RRULE:FREQ=DAILY', 'BEGIN:VEVENT', '0 2 * * *', 'BEGIN:VTODO\nEND:VTODO'])
def test_what_is_no_calendar_is_refused(text):
    assert refused(text).startswith('properties/pattern: must be iCalendar text')


# --- crontab


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('0 2 * * *', ['11-22 02:00', '11-23 02:00']),
        ('30 */6 * * *', ['11-22 00:30', '11-22 06:30']),
        ('0 3 * * mon-fri', ['11-23 03:00', '11-24 03:00']),
        ('0 3 1 * 1', ['11-23 03:00', '11-30 03:00', '12-01 03:00']),
        ('15 4 1,15 * *', ['12-01 04:15', '12-15 04:15']),
        ('0 0 L * *', ['11-30 00:00', '12-31 00:00']),
        ('CRON_TZ=Asia/Tokyo 0 9 * * *', ['11-22 00:00', '11-23 00:00']),
        ('CRON_TZ=Asia/Tokyo\\n0 9 * * *', ['11-22 00:00', '11-23 00:00']),
    ],
)
def test_a_crontab_line_is_due_when_crontab_says(line, expected):
    seen = runs(parsed(line, 'crontab'), len(expected), NOW)
    assert [f'{run:%m-%d %H:%M}' for run in seen] == expected


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('', 'five fields'),
        ('0 2 * *', 'five fields'),
        ('0 0 2 * * *', 'five fields'),
        ('@daily', 'five fields'),
        ('R R * * *', 'five fields'),
        ('h 2 * * *', 'five fields'),
        ('60 2 * * *', 'must be a crontab line'),
        ('0 2 * * someday', 'must be a crontab line'),
        ('*/0 2 * * *', 'must be a crontab line'),
        ('0 0 31 2 *', 'is never due'),
        ('CRON_TZ=Nowhere/Land 0 2 * * *', 'IANA'),
        ('CRON_TZ=Europe/Berlin', 'five fields'),
        (event('RRULE:FREQ=DAILY'), 'five fields'),
    ],
)
def test_a_crontab_line_is_refused_when_it_is_wrong(line, reason):
    assert reason in refused(line, 'crontab')


# --- start, end, zone, format


def test_runs_lie_between_start_and_end_both_inclusive():
    times = {'start_time': '2026-01-02 02:00:00', 'end_time': '2026-01-04 02:00:00'}
    seen = runs(parsed('0 2 * * *', 'crontab', **times), 9)
    assert [run.day for run in seen] == [2, 3, 4]


def test_a_rule_without_dtstart_begins_with_the_start_on_the_clock_of_the_zone():
    found = parsed(event('RRULE:FREQ=DAILY'), timezone='Asia/Tokyo', start_time='2026-01-01 20:15:07')
    assert runs(found, 2) == [datetime.datetime(2026, 1, day, 20, 15, 7) for day in (1, 2)]
    at_nine = parsed(event('RRULE:FREQ=DAILY;BYHOUR=9'), timezone='Asia/Tokyo', start_time='2026-01-01 20:15:07')
    assert runs(at_nine, 1) == [datetime.datetime(2026, 1, 2, 0, 15, 7)]


def test_the_zone_of_the_pattern_goes_before_the_property():
    for pattern, format in (
        ('CRON_TZ=Asia/Tokyo 0 9 * * *', 'crontab'),
        (event('DTSTART;TZID=Asia/Tokyo:20260101T090000', 'RRULE:FREQ=DAILY'), 'calendar'),
    ):
        assert parsed(pattern, format, timezone='Europe/Berlin').next_run(NOW).hour == 0
    floating = event('DTSTART:20260101T090000', 'RRULE:FREQ=DAILY')
    assert parsed(floating, timezone='Asia/Tokyo').next_run(NOW).hour == 0


def test_a_trigger_of_1_6_is_read_by_the_format_of_the_configuration():
    properties = {'format': 'anything', 'pattern': '0 2 * * *'}
    assert recurrence.parse(properties, LONG_AGO, 'crontab').next_run(NOW) == datetime.datetime(2026, 11, 22, 2)
    with pytest.raises(exception.InvalidInput):
        recurrence.parse(properties, LONG_AGO)
    assert recurrence.parse({'pattern': event('RRULE:FREQ=DAILY')}, LONG_AGO).next_run(NOW) is not None


@pytest.mark.parametrize(
    ('properties', 'message'),
    [
        ({'start_time': '2026-01-01T00:00:00'}, 'start_time: must be a time in UTC'),
        ({'start_time': '1899-12-31 00:00:00'}, 'start_time: must be a time in UTC'),
        ({'start_time': '3000-01-01 00:00:00'}, 'start_time: must be a time in UTC'),
        ({'end_time': 'never'}, 'end_time: must be a time in UTC'),
        ({'start_time': '2026-01-01 00:00:00', 'end_time': '2026-01-01 00:00:00'}, 'end_time: must be later'),
        ({'timezone': 'CEST'}, 'timezone: time zones are those of the IANA database'),
        ({'timezone': '/etc/localtime'}, 'timezone: time zones are'),
    ],
)
def test_other_properties_are_refused_when_they_are_wrong(properties, message):
    assert message in refused('0 2 * * *', 'crontab', **properties)


def test_an_end_behind_all_years_is_an_end():
    bounds = {'start_time': '2999-12-31 00:00:00', 'end_time': '9999-12-31 23:59:59'}
    found = parsed(event('RRULE:FREQ=YEARLY;INTERVAL=6999'), **bounds)
    assert runs(found, 9, NOW) == [datetime.datetime(2999, 12, 31), datetime.datetime(9998, 12, 31)]
    assert found.is_sparse(3600, NOW)


@pytest.mark.parametrize('zone', ['Asia/Tokyo', 'America/New_York'])
def test_an_end_behind_all_years_is_an_end_in_every_zone(zone):
    two = event('RRULE:FREQ=WEEKLY;BYDAY=MO;BYHOUR=1', 'RRULE:FREQ=WEEKLY;BYDAY=TU;BYHOUR=1;BYMINUTE=30')
    found = parsed(two, timezone=zone, end_time='9999-12-31 23:59:59')
    assert found.is_sparse(3600, NOW)
    assert found.next_run(NOW) is not None


# --- the least interval


@pytest.mark.parametrize(
    ('rules', 'least'),
    [
        (['FREQ=HOURLY'], 3600),
        (['FREQ=HOURLY;INTERVAL=5'], 5 * 3600),
        (['FREQ=MINUTELY;INTERVAL=61'], 3660),
        (['FREQ=SECONDLY;INTERVAL=4000'], 4000),
        (['FREQ=DAILY;BYHOUR=0,12;BYMINUTE=0'], 12 * 3600),
        (['FREQ=DAILY;BYHOUR=0,1,23'], 3600),
        (['FREQ=WEEKLY;BYDAY=MO,TH'], 3 * 86400),
        (['FREQ=WEEKLY;INTERVAL=2'], 14 * 86400),
        (['FREQ=MONTHLY;BYMONTHDAY=1,-1'], 86400),
        (['FREQ=WEEKLY;BYDAY=MO;BYHOUR=10', 'FREQ=WEEKLY;BYDAY=TU;BYHOUR=10;BYMINUTE=30'], 86400 + 1800),
        # Only on the 29th of February, and only when that is a Sunday, the second rule comes close to the first.
        (['FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYHOUR=10', 'FREQ=WEEKLY;BYDAY=SU;BYHOUR=10;BYMINUTE=30'], 1800),
    ],
)
def test_the_least_interval_is_found_however_rare_it_is(rules, least):
    found = parsed(event('DTSTART:20260101T000000Z', *(f'RRULE:{rule}' for rule in rules)))
    assert found.is_sparse(least, NOW)
    assert not found.is_sparse(least + 1, NOW)


@pytest.mark.parametrize(
    ('line', 'least'), [('0 * * * *', 3600), ('*/20 * * * *', 1200), ('0 0,23 * * *', 3600), ('5 2 * * 1,3', 2 * 86400)]
)
def test_the_least_interval_of_a_crontab_line_is_found(line, least):
    found = parsed(line, 'crontab')
    assert found.is_sparse(least, NOW)
    assert not found.is_sparse(least + 1, NOW)


def test_a_pattern_is_not_called_sparse_when_nobody_can_be_sure():
    found = parsed(event('RRULE:FREQ=MINUTELY;INTERVAL=59', 'RRULE:FREQ=YEARLY'), start=NOW)
    assert not found.is_sparse(3600, NOW)
    drifting = parsed(event('RRULE:FREQ=MINUTELY;INTERVAL=7;BYMINUTE=0'), start=datetime.datetime(2026, 1, 1))
    assert not drifting.is_sparse(3600 * 7, NOW)


def test_runs_that_are_over_do_not_count():
    dense = parsed(event('DTSTART:20260101T000000Z', 'RRULE:FREQ=MINUTELY;UNTIL=20260201', 'RRULE:FREQ=DAILY'))
    assert not dense.is_sparse(3600, datetime.datetime(2026, 1, 5))
    assert dense.is_sparse(3600, NOW)


# --- changes of the clock


def test_a_run_in_a_gap_is_due_at_the_first_instant_after_it():
    found = parsed('30 2 * * *', 'crontab', timezone='Europe/Berlin')
    # 2026-03-29 02:00 becomes 03:00, which is 01:00 in UTC.
    assert runs(found, 3, datetime.datetime(2026, 3, 28)) == [
        datetime.datetime(2026, 3, 28, 1, 30),
        datetime.datetime(2026, 3, 29, 1, 0),
        datetime.datetime(2026, 3, 30, 0, 30),
    ]


def test_a_run_in_an_overlap_is_due_once_the_first_time():
    found = parsed(event('DTSTART;TZID=Europe/Berlin:20260101T023000', 'RRULE:FREQ=DAILY'))
    # 2026-10-25 03:00 becomes 02:00: 02:30 comes at 00:30 and at 01:30 in UTC.
    assert runs(found, 2, datetime.datetime(2026, 10, 25)) == [
        datetime.datetime(2026, 10, 25, 0, 30),
        datetime.datetime(2026, 10, 26, 1, 30),
    ]


def test_an_hourly_run_pauses_in_an_overlap_and_is_not_doubled_after_a_gap():
    found = parsed('0 * * * *', 'crontab', timezone='Europe/Berlin')
    assert [run.hour for run in runs(found, 4, datetime.datetime(2026, 10, 24, 22, 59))] == [23, 0, 2, 3]
    assert [run.hour for run in runs(found, 4, datetime.datetime(2026, 3, 28, 22, 59))] == [23, 0, 1, 2]


def test_a_day_that_a_zone_left_out_has_its_run_at_the_next_midnight():
    found = parsed('0 12 30 12 *', 'crontab', timezone='Pacific/Apia')
    # Samoa went from the end of the 29th to the 31st of December 2011.
    assert found.next_run(datetime.datetime(2011, 6, 1)) == datetime.datetime(2011, 12, 30, 10)


def _transitions(zone):
    """(instant, offset before, offset after) of each change of the zone's clock from 2020 to 2040."""

    def offset(instant):
        return instant.replace(tzinfo=datetime.UTC).astimezone(zone).utcoffset()

    moment, end, step = datetime.datetime(2020, 1, 1), datetime.datetime(2041, 1, 1), datetime.timedelta(days=14)
    before = offset(moment)
    while moment < end:
        later = moment + step
        after = offset(later)
        if after != before:
            first, last = moment, later
            while last - first > datetime.timedelta(seconds=1):
                middle = first + datetime.timedelta(seconds=(last - first).total_seconds() // 2)
                first, last = (first, middle) if offset(middle) != before else (middle, last)
            yield last, before, offset(last)
            moment, before = last, offset(last)
        else:
            moment = later


def _kinds():
    """One zone for each history of changes: names of one clock are one case."""
    seen = {}
    for name in sorted(zoneinfo.available_timezones()):
        changes = tuple(_transitions(zoneinfo.ZoneInfo(name)))
        seen.setdefault(changes, name)
    return seen


def test_every_change_of_every_clock_from_2020_to_2040_is_met():
    """The rule of the module, with what zoneinfo says of the change. Zones that change alike are one case."""
    kinds = _kinds()
    assert len(kinds) > 40
    for changes, name in kinds.items():
        for at, before, after in changes:
            shift = after - before
            old, new = at + before, at + after  # the wall clock at the change, as it was and as it is
            inside = min(old, new) + abs(shift) / 2
            pattern = event(f'DTSTART;TZID={name}:{inside:%Y%m%dT%H%M%S}', 'RRULE:FREQ=YEARLY;INTERVAL=9;COUNT=2')
            expected = at if shift > datetime.timedelta() else inside - before
            assert parsed(pattern).next_run(at - datetime.timedelta(days=2)) == expected, (name, at)
            # Once: behind the change nothing of it is left.
            assert parsed(pattern).next_run(max(expected, at)) > at + datetime.timedelta(days=365), (name, at)
            edge = event(f'DTSTART;TZID={name}:{max(old, new):%Y%m%dT%H%M%S}', 'RRULE:FREQ=YEARLY;INTERVAL=9')
            assert parsed(edge).next_run(at - datetime.timedelta(days=2)) == max(old, new) - after, (name, at)


# --- what holds for every pattern

ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'America/Sao_Paulo']
FREQUENCIES = ['YEARLY', 'MONTHLY', 'WEEKLY', 'DAILY', 'HOURLY', 'MINUTELY']


@st.composite
def calendars(draw):
    lines = [f'DTSTART;TZID={draw(st.sampled_from(ZONES))}:{draw(moments()):%Y%m%dT%H%M%S}']
    for _ in range(draw(st.integers(1, 2))):
        parts = [f'FREQ={draw(st.sampled_from(FREQUENCIES))}', f'INTERVAL={draw(st.integers(1, 40))}']
        options = {
            'BYDAY': st.sampled_from(['MO', 'SU', 'TU,TH', 'MO,TU,WE,TH,FR', '1MO', '-1FR']),
            'BYHOUR': st.sampled_from(['0', '2', '2,3', '9,17,23']),
            'BYMINUTE': st.sampled_from(['0', '30', '0,59']),
            'BYMONTH': st.sampled_from(['1', '2', '3,10', '6,7,8']),
            'BYMONTHDAY': st.sampled_from(['1', '-1', '29', '31']),
            'COUNT': st.integers(1, 50).map(str),
        }
        chosen = draw(st.sets(st.sampled_from(sorted(options)), max_size=3))
        lines.append('RRULE:' + ';'.join(parts + [f'{name}={draw(options[name])}' for name in sorted(chosen)]))
    return event(*lines), 'calendar'


@st.composite
def crontabs(draw):
    minute = draw(st.sampled_from(['0', '30', '*/20', '*', '59']))
    hour = draw(st.sampled_from(['*', '2', '1-3', '*/5']))
    day, month, weekday = (draw(st.sampled_from(words)) for words in (['*', '1', '31'], ['*', '2,10'], ['*', '0']))
    return f'CRON_TZ={draw(st.sampled_from(ZONES))} {minute} {hour} {day} {month} {weekday}', 'crontab'


def moments():
    return st.datetimes(datetime.datetime(2015, 1, 1), datetime.datetime(2035, 1, 1)).map(
        lambda found: found.replace(microsecond=0)
    )


@settings(max_examples=150, deadline=None)
@given(st.one_of(calendars(), crontabs()), moments(), moments(), moments(), st.integers(0, 3000))
def test_a_next_run_is_later_within_bounds_monotone_and_complete(pattern, start, after, probe, length):
    end = start + datetime.timedelta(days=length, seconds=1)
    bounds = {'start_time': f'{start:%Y-%m-%d %H:%M:%S}', 'end_time': f'{end:%Y-%m-%d %H:%M:%S}'}
    try:
        found = parsed(*pattern, **bounds)
    except exception.InvalidInput:
        return
    run = found.next_run(after)
    assert run is None or (run > after and start <= run <= end)
    between = found.next_run(probe)
    if probe >= after:
        assert between is None or (run is not None and run <= between)
    if run is not None and after <= probe < run:  # nothing lies between
        assert between == run


@settings(max_examples=60, deadline=None)
@given(calendars(), moments())
def test_a_late_search_finds_what_walking_from_the_start_finds(pattern, after):
    """The start is moved for speed; here it is compared with a walk of every run from the first one."""
    try:
        found = parsed(*pattern)
    except exception.InvalidInput:
        return
    walked = LONG_AGO
    for _ in range(3000):
        walked = found.next_run(walked)
        if walked is None or walked > after:
            assert found.next_run(after) == walked
            return


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.text('0123456789*/,-LW#? monfri', max_size=25),
        st.text('FREQ=DAILYMONTHWKBY;,0123456789-+:TZ', max_size=60).map(lambda rule: event(f'RRULE:{rule}')),
        st.text('DTSARX;:=0123456789Z,/P\n', max_size=60).map(lambda line: event(line, 'RRULE:FREQ=DAILY')),
    ),
    st.sampled_from(['calendar', 'crontab']),
)
def test_any_text_is_a_pattern_or_refused(text, format):
    began = time.process_time()
    try:
        parsed(text, format).next_run(NOW)
    except exception.InvalidInput as refusal:
        assert len(refusal.text) < 250
    assert time.process_time() - began < 2


SINCE_2020 = {
    'secondly': event('DTSTART:20200101T000000Z', 'RRULE:FREQ=SECONDLY'),
    'minutely': event('DTSTART;TZID=Europe/Berlin:20200101T000000', 'RRULE:FREQ=MINUTELY'),
    'hourly': event('DTSTART;TZID=Europe/Berlin:20200101T000000', 'RRULE:FREQ=HOURLY'),
    'daily': event('DTSTART;TZID=Europe/Berlin:20200101T000000', 'RRULE:FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR'),
    'weekly': event('DTSTART:20200101T000000Z', 'RRULE:FREQ=WEEKLY;INTERVAL=3'),
    'monthly': event('DTSTART:20200101T000000Z', 'RRULE:FREQ=MONTHLY;BYDAY=-1SU'),
    'yearly': event('DTSTART;TZID=Europe/Berlin:20200101T000000', 'RRULE:FREQ=YEARLY'),
}


@pytest.mark.parametrize('name', SINCE_2020)
def test_a_call_takes_a_millisecond_at_most_when_the_rule_began_in_2020(name):
    found = parsed(SINCE_2020[name])
    best = float('inf')
    for hour in range(200):
        began = time.perf_counter()
        found.next_run(NOW + datetime.timedelta(hours=hour))
        best = min(best, time.perf_counter() - began)
    assert best < 0.001
