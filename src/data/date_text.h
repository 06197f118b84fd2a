#pragma once

// Dates and times as Python's str() writes them. Arrow's values count from 1970-01-01 in the proleptic Gregorian
// calendar.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace evalmpi::data {

// str(datetime.date): 2024-02-29.
std::string date_text(int64_t days);

// str(datetime.time) of a time of day in units of which `per_second` make a second: 12:30:05, and six decimals (nine
// where nanoseconds need them, as pandas) when there is a rest.
std::string time_text(int64_t value, int64_t per_second);

// str(datetime.datetime) of a time since 1970 in UTC: 2024-02-29 12:30:05.250000.
std::string timestamp_text(int64_t value, int64_t per_second);

// str(datetime.timedelta): 1 day, 2:03:04.
std::string duration_text(int64_t value, int64_t per_second);

// "+05:30" and "-08:00" in seconds, 0 for UTC and its other names; nothing for a zone with rules of its own.
std::optional<int64_t> fixed_offset_seconds(std::string_view zone);

// Seconds since 1970 in UTC of a text that Arrow's JSON reader takes for a timestamp: YYYY-MM-DD, and after a space or
// T hh, hh:mm or hh:mm:ss, and after that Z, +hh, +hhmm or +hh:mm. Nothing for any other text.
std::optional<int64_t> date_seconds(std::string_view text);

}  // namespace evalmpi::data
