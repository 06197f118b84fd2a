#include "date_text.h"

#include <fmt/format.h>

namespace evalmpi::data {
namespace {

constexpr int64_t kDaySeconds = 86'400;

int64_t floor_divide(int64_t value, int64_t by) { return value >= 0 ? value / by : -((-(value + 1)) / by) - 1; }

// The inverse of date_text: days of a date (Howard Hinnant, "chrono-compatible low-level date algorithms").
int64_t days_of(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2 ? 1 : 0;
  const int64_t era = floor_divide(year, 400);
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

int64_t days_in(int64_t year, int64_t month) {
  constexpr int64_t kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return kDays[month - 1] + (month == 2 && leap ? 1 : 0);
}

// The number of the next `count` digits, which are removed; -1 when there are fewer.
int64_t take_number(std::string_view& text, size_t count) {
  if (text.size() < count) return -1;
  int64_t number = 0;
  for (const char c : text.substr(0, count)) {
    if (c < '0' || c > '9') return -1;
    number = number * 10 + (c - '0');
  }
  text.remove_prefix(count);
  return number;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// Z, +hh, +hhmm, +hh:mm or nothing, to the end of the text.
std::optional<int64_t> zone_seconds(std::string_view text) {
  if (text.empty() || text == "Z") return 0;
  const int64_t sign = text[0] == '-' ? -1 : 1;
  if (!take(text, '+') && !take(text, '-')) return {};
  const int64_t hours = take_number(text, 2);
  if (hours < 0 || hours > 23) return {};
  if (text.empty()) return sign * hours * 3600;
  take(text, ':');
  const int64_t minutes = take_number(text, 2);
  if (minutes < 0 || minutes > 59 || !text.empty()) return {};
  return sign * (hours * 3600 + minutes * 60);
}

}  // namespace

std::string date_text(int64_t days) {
  days += 719468;
  const int64_t era = floor_divide(days, 146097);
  const int64_t day_of_era = days - era * 146097;
  const int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_index = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * month_index + 2) / 5 + 1;
  const int64_t month = month_index < 10 ? month_index + 3 : month_index - 9;
  return fmt::format("{:04}-{:02}-{:02}", year_of_era + era * 400 + (month <= 2 ? 1 : 0), month, day);
}

std::string time_text(int64_t value, int64_t per_second) {
  const int64_t seconds = value / per_second;
  const int64_t nanos = value % per_second * (1'000'000'000 / per_second);
  std::string out = fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  if (nanos % 1000 != 0) {
    out += fmt::format(".{:09}", nanos);
  } else if (nanos != 0) {
    out += fmt::format(".{:06}", nanos / 1000);
  }
  return out;
}

std::string timestamp_text(int64_t value, int64_t per_second) {
  const int64_t per_day = per_second * kDaySeconds;
  const int64_t days = floor_divide(value, per_day);
  return date_text(days) + " " + time_text(value - days * per_day, per_second);
}

std::string duration_text(int64_t value, int64_t per_second) {
  const int64_t per_day = per_second * kDaySeconds;
  const int64_t days = floor_divide(value, per_day);
  std::string time = time_text(value - days * per_day, per_second);
  if (time.starts_with('0')) time.erase(0, 1);
  if (days == 0) return time;
  return fmt::format("{} day{}, {}", days, days == 1 || days == -1 ? "" : "s", time);
}

std::optional<int64_t> fixed_offset_seconds(std::string_view zone) {
  for (const std::string_view name : {"UTC", "utc", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "Z"}) {
    if (zone == name) return 0;
  }
  return zone.empty() ? std::nullopt : zone_seconds(zone);
}

std::optional<int64_t> date_seconds(std::string_view text) {
  if (text.size() < 10 || text.size() > 25 || text[4] != '-' || text[7] != '-') return {};
  const int64_t year = take_number(text, 4);
  text.remove_prefix(1);
  const int64_t month = year < 0 ? -1 : take_number(text, 2);
  if (month < 1 || month > 12) return {};
  text.remove_prefix(1);
  const int64_t day = take_number(text, 2);
  if (day < 1 || day > days_in(year, month)) return {};
  int64_t clock[3] = {0, 0, 0};
  if (!text.empty()) {
    if (!take(text, ' ') && !take(text, 'T')) return {};
    for (int i = 0; i < 3 && (i == 0 || take(text, ':')); ++i) {
      clock[i] = take_number(text, 2);
      if (clock[i] < 0 || clock[i] > (i == 0 ? 23 : 59)) return {};
    }
  }
  const auto zone = zone_seconds(text);
  if (!zone) return {};
  return days_of(year, month, day) * kDaySeconds + clock[0] * 3600 + clock[1] * 60 + clock[2] - *zone;
}

}  // namespace evalmpi::data
