// The files through which shim and daemon talk, in the run directory (os::RunDirectory). JSON, `"version": 1`, unknown
// keys ignored, published atomically. A reader gets nothing for a missing file and, but for start.json,
// Error(kInternal) for a damaged one.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "runner/core/run.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/os/process.hpp"

namespace runner::shim {

// claim.json: who starts this run. Made by link(2): exactly one shim ever wins. Of an interactive run: the process that
// it lives in.
struct Claim {
  os::ProcessIdentity shim;
  int attempt = 1;        // of the run
  std::string outputs{};  // of an interactive run: the directory that is collected at its end; empty: none
};
std::optional<Claim> read_claim(const os::RunDirectory& run);
// Whether the file is there, whatever it says: then the script may have run, and must not run again under this claim.
// Also true when that cannot be told.
bool is_claimed(const os::RunDirectory& run);
// Durable when it returns true: no power cut makes a script run twice, or leaves a claim that says nothing.
bool write_claim_once(const os::RunDirectory& run, const Claim& claim);

// start.json: the script runs. Written again whenever it is paused or goes on.
struct Started {
  UtcTime time{};
  os::ProcessIdentity init;  // pid 1 of the container, as seen from the host; pid 0: not visible
  std::optional<std::chrono::nanoseconds> deadline{};  // CLOCK_MONOTONIC of this boot; none while it is paused
  bool paused = false;
  std::uint64_t pause_requests = 0;  // how many have been answered
  std::string pause_error{};         // why the last one could not be followed; empty: it was
  std::string interpreter{};         // which of Spec::candidates runs the script; empty: none was to be chosen
};
// Nothing also for a damaged file: it is not synced, so a power cut can leave it empty, and a run must be ended without
// it.
std::optional<Started> read_started(const os::RunDirectory& run);
void check_started(const os::RunDirectory& run);  // Error(kInternal) for a damaged one
void write_started(const os::RunDirectory& run, const Started& started);

// exit.json: the container is empty, its log is complete. Durable (fsync) before it appears.
struct Ended {
  UtcTime time{};
  Outcome outcome;
  bool gave_way = false;                  // CancelRequest::give_way: the run is to start again
  std::int64_t log_bytes_over_limit = 0;  // that the script printed and the log's limit kept out
};
std::optional<Ended> read_ended(const os::RunDirectory& run);
std::string to_document(const Ended& ended);  // exit.json as end_record.hpp writes it

// pause.json: pause the run or let it go on. Then SIGUSR2 to the shim, which answers in start.json.
struct PauseRequest {
  bool paused = false;
  std::uint64_t number = 0;  // counts the requests of this run, from 1
  std::string reason{};      // why the machine has it paused ("on battery"); empty: somebody asked for it
};
std::optional<PauseRequest> read_pause(const os::RunDirectory& run);
void write_pause(const os::RunDirectory& run, const PauseRequest& request);

// cancel.json: stop the run politely, kill after its grace. Then SIGUSR1 to the shim.
struct CancelRequest {
  std::string reason;       // "cancelled by user dev", shown in the outcome's message
  bool as_failure = false;  // `runner run fail`: end as killed instead of cancelled
  bool give_way = false;    // the end of this attempt only
};
std::optional<CancelRequest> read_cancel(const os::RunDirectory& run);
void write_cancel(const os::RunDirectory& run, const CancelRequest& request);

}  // namespace runner::shim
