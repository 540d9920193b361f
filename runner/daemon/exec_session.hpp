// One command beside the script of a live run, its output streamed to whoever asked (`runner run exec`).
#pragma once

#include <string>
#include <vector>

#include "runner/daemon/http_server.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::daemon {

// Answers with application/vnd.runner.exec-stream: frames of kind (1 standard output, 2 standard error, 3 end), three
// zero bytes, the length as 4 bytes big-endian, and so many bytes; the end's are the exit status in decimal (128+N for
// signal N). Standard input is empty. A client that goes away ends the command. On the connection's thread, to its end.
// Error(kConflict) for a run that is not running, kNotFound for a program that is not there, kInvalid for no command.
void stream_exec(pipeline::Pipeline& pipeline, const std::string& run, const std::vector<std::string>& command,
                 Exchange& exchange);

}  // namespace runner::daemon
