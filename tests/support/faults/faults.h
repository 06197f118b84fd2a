#pragma once

// What the two halves of the library (calls on files, MPI's messages) share.

namespace evalmpi::faults {

enum class Kind { kNone, kError, kShort, kKillBefore, kKillAfter, kStopBefore };

// Counts a message where such messages count: what is to happen with it. Does not return where the process is to die
// before it.
enum class Message { kPost, kCollective };
Kind count_message(const char* name, Message message);

[[noreturn]] void die();

}  // namespace evalmpi::faults
