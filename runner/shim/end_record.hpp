// exit.json, a run's last word: it has room on the disk from before the script starts, so that a disk which the script
// has filled does not turn an end that happened into one that nobody knows.
#pragma once

#include "runner/os/data_directory.hpp"
#include "runner/shim/records.hpp"

namespace runner::shim {

// Takes the room. Once, by the shim that has claimed the run; where it cannot be had, record_end has to do without.
void reserve_end_record(const os::RunDirectory& run) noexcept;

// Writes and syncs it before it appears. While the disk is too full for it all the same it waits, without an end: what
// has happened to the run is in nobody else's memory. False if it cannot be written for another reason.
bool record_end(const os::RunDirectory& run, const Ended& ended);

}  // namespace runner::shim
