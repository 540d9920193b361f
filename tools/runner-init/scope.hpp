// What the container and everything in it may reach by ways that no namespace closes.
#pragma once

namespace runner::init {

// From here on this process and all that it starts get no new privileges and, where the kernel has it, connect to no
// abstract unix socket and signal no process that was made outside. Says nothing where it cannot: an old kernel is a
// stated weakness (docs/security.md). Sockets that are connected already stay.
void keep_to_this_container();

}  // namespace runner::init
