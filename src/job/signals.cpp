#include "evalmpi/job/signals.h"

#include <signal.h>

#include <array>
#include <utility>

#include "evalmpi/base/error.h"

namespace evalmpi::job {
namespace {

constexpr std::array<int, 4> kSignals{SIGUSR1, SIGTERM, SIGINT, SIGPIPE};

std::atomic<StopFlag*> handled_flag{nullptr};
std::array<struct sigaction, kSignals.size()> former_actions;

void on_signal(int signal) {
  StopFlag* flag = handled_flag.load();
  if (flag != nullptr) flag->request(signal == SIGUSR1 ? Stop::kAfterChunk : Stop::kNow, signal);
}

}  // namespace

void StopFlag::request(Stop stop, int signal) noexcept {
  int none = 0;
  if (stop != Stop::kNone) signal_.compare_exchange_strong(none, signal);
  const int wanted = static_cast<int>(stop);
  int present = request_.load();
  while (present < wanted && !request_.compare_exchange_weak(present, wanted)) {
  }
}

SignalHandlers::SignalHandlers(StopFlag& flag) {
  EVALMPI_CHECK(handled_flag.exchange(&flag) == nullptr);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    struct sigaction action {};
    action.sa_handler = kSignals[i] == SIGPIPE ? SIG_IGN : on_signal;
    // The second INT finds the default action, which ends the process.
    action.sa_flags = SA_RESTART | (kSignals[i] == SIGINT ? SA_RESETHAND : 0);
    ::sigemptyset(&action.sa_mask);
    ::sigaction(kSignals[i], &action, &former_actions[i]);
  }
}

SignalHandlers::~SignalHandlers() {
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &former_actions[i], nullptr);
  handled_flag = nullptr;
}

}  // namespace evalmpi::job
