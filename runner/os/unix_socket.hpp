// Unix sockets in directories of any depth: sun_path holds 107 bytes, a run directory's path may be longer. Any thread.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>

#include "runner/os/fd.hpp"

namespace runner::os {

// A listening SOCK_SEQPACKET socket at `path`, mode 0600; replaces what is there. Non-blocking. Throws Error.
Fd listen_at(const std::filesystem::path& path);
// Without waiting. Throws Error: kNotFound if there is no socket, kUnavailable if nobody listens or too many wait.
Fd connect_to(const std::filesystem::path& path);

// One message with descriptors, whole or not at all, without waiting; false if the peer is gone or does not read.
bool send_message(int socket, std::string_view bytes, std::span<const int> descriptors = {});

// A memfd with this content, read from its beginning, sealed against any change. Throws Error.
Fd sealed_memory(const char* name, std::string_view content);

}  // namespace runner::os
