#include <dlfcn.h>

#include <string>

#include "runner/core/error.hpp"
#include "runner/pipeline/systemd_library_handle.hpp"

namespace runner::pipeline {
namespace {

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (function == nullptr)
    throw Error(ErrorCode::kUnavailable, std::string("libsystemd.so.0 is too old: it has no ") + name,
                "install libsystemd 240 or later");
}

SystemdLibrary load() {
  void* library = ::dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr)
    throw Error(ErrorCode::kUnavailable, std::string("libsystemd is not here: ") + ::dlerror(),
                "apt install libsystemd0");
  SystemdLibrary systemd{};
  find(library, "sd_bus_open_system", systemd.open_system);
  find(library, "sd_bus_open_user", systemd.open_user);
  find(library, "sd_bus_set_method_call_timeout", systemd.set_method_call_timeout);
  find(library, "sd_bus_get_fd", systemd.get_fd);
  find(library, "sd_bus_call_method", systemd.call_method);
  find(library, "sd_bus_get_property_trivial", systemd.get_property_trivial);
  find(library, "sd_bus_message_read", systemd.message_read);
  find(library, "sd_bus_message_unref", systemd.message_unref);
  find(library, "sd_bus_error_free", systemd.error_free);
  find(library, "sd_bus_close_unref", systemd.close_unref);
  return systemd;
}

}  // namespace

const SystemdLibrary& SystemdLibrary::get() {
  static const SystemdLibrary library = load();
  return library;
}

}  // namespace runner::pipeline
