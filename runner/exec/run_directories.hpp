// What a run writes in, on the host: made before any container of whatever isolation.
#pragma once

#include "runner/os/data_directory.hpp"

namespace runner::exec {

// upper, work, home, tmp, io and what is in it (the metric journal, artifacts), bundle and state. Existing ones are
// left alone.
void make_run_directories(const os::RunDirectory& directory);

// How many checkouts may lie in one stack so that an overlay's options fit into a page, whatever the run is called: at
// least one, at most four.
std::size_t layers_that_fit(const os::DataDirectory& data);

}  // namespace runner::exec
