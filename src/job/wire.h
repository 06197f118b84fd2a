#pragma once

// The messages between coordinator and workers. Little-endian (base/bytes.h), each with a version, so that two builds
// in one job notice.
//
//   to the coordinator, tag kToCoordinator:
//     request := head(kRequest) held:hash                       at most one without answer per worker
//     receipt := head(kReceipt) item:u64 seconds:f64 log_name:text offset:u64 length:u32 crc:u32 record:text
//     leave   := head(kLeave) stop:u8                           the worker's own StopFlag; its last message
//   to worker w, tag kToWorker + w:
//     item    := head(kItem) item:u64 prefix:hash payload:text  answers a request
//     end     := head(kEnd) stop:u8                             kNone: there is nothing after what was sent, answers a
//                                                               request; else: stop so, may come at any time
//   head(kind) := version:u8 kind:u8 worker:i32

#include <cstdint>
#include <string>

#include "evalmpi/base/bytes.h"
#include "evalmpi/base/error.h"
#include "evalmpi/job/signals.h"

namespace evalmpi::job::wire {

inline constexpr uint8_t kVersion = 1;
inline constexpr int kToCoordinator = 1;
inline constexpr int kToRollCall = 2;  // roll_call.cpp
inline constexpr int kFromRollCall = 3;
inline constexpr int kToWorker = 1024;
inline constexpr int kMaxWorkers = (1 << 15) - kToWorker;

enum class Kind : uint8_t { kRequest = 1, kReceipt = 2, kLeave = 3, kItem = 4, kEnd = 5 };

inline ByteWriter start_message(Kind kind, int worker) {
  ByteWriter message;
  message.put(kVersion).put(static_cast<uint8_t>(kind)).put(int32_t{worker});
  return message;
}

struct Head {
  Kind kind;
  int worker;
};

// FAILS: kBadInput on another version.
inline Head read_head(ByteReader& message) {
  const auto version = message.get<uint8_t>();
  if (version != kVersion) {
    fail(ExitCode::kBadInput, "a rank runs another build of evalmpi (messages of version {}, here {})", version,
         kVersion);
  }
  const auto kind = static_cast<Kind>(message.get<uint8_t>());
  return {kind, message.get<int32_t>()};
}

inline Stop read_stop(ByteReader& message) {
  const auto stop = message.get<uint8_t>();
  if (stop > static_cast<uint8_t>(Stop::kNow)) fail(ExitCode::kBadInput, "a message asks for an unknown stop {}", stop);
  return static_cast<Stop>(stop);
}

}  // namespace evalmpi::job::wire
