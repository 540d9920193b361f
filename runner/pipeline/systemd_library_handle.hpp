// libsystemd's D-Bus client, loaded when it is first needed: it brings four more libraries. Private to this folder.
#pragma once

#include <systemd/sd-bus.h>

namespace runner::pipeline {

struct SystemdLibrary {
  // Loads it once; Error(kUnavailable), each time, if it is not there. Any thread.
  static const SystemdLibrary& get();

  decltype(&::sd_bus_open_system) open_system;
  decltype(&::sd_bus_open_user) open_user;
  decltype(&::sd_bus_set_method_call_timeout) set_method_call_timeout;
  decltype(&::sd_bus_get_fd) get_fd;
  decltype(&::sd_bus_call_method) call_method;
  decltype(&::sd_bus_get_property_trivial) get_property_trivial;
  decltype(&::sd_bus_message_read) message_read;
  decltype(&::sd_bus_message_unref) message_unref;
  decltype(&::sd_bus_error_free) error_free;
  decltype(&::sd_bus_close_unref) close_unref;
};

}  // namespace runner::pipeline
