#include "runner/pipeline/message_bus.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <set>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/guarded.hpp"
#include "runner/pipeline/systemd_library_handle.hpp"

namespace runner::pipeline {
namespace {

constexpr const char* kLogind = "org.freedesktop.login1";
constexpr const char* kLogindPath = "/org/freedesktop/login1";
constexpr const char* kLogindManager = "org.freedesktop.login1.Manager";
constexpr int kNotificationMillis = -1;  // as long as the desktop thinks right

enum class Bus { kSystem, kSession };

struct Connections {
  std::set<int> sockets;  // of calls that are under way
  bool interrupted = false;
};

}  // namespace

class MessageBus::Impl {
 public:
  os::Guarded<Connections> connections;
};

namespace {

// One connection, for one call.
class Connection {
 public:
  Connection(Bus bus, os::Guarded<Connections>& all) : library_(SystemdLibrary::get()), all_(all) {
    const char* const name = bus == Bus::kSystem ? "the system's message bus" : "the session's message bus";
    const int result = bus == Bus::kSystem ? library_.open_system(&bus_) : library_.open_user(&bus_);
    if (result < 0) throw failure(std::string("connect to ") + name, result);
    library_.set_method_call_timeout(bus_, static_cast<std::uint64_t>(std::chrono::microseconds(kBusPatience).count()));
    socket_ = library_.get_fd(bus_);
    const bool interrupted = all_.with([&](auto& connections) {
      if (socket_ >= 0) connections.sockets.insert(socket_);
      return connections.interrupted;
    });
    if (!interrupted) return;
    close();
    throw Error(ErrorCode::kUnavailable, std::string("connect to ") + name + ": the daemon is stopping");
  }
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The answer is read by `read(message)`, which returns what libsystemd said of it.
  template <class Read, class... Arguments>
  void call(const char* service, const char* path, const char* interface, const char* method, Read&& read,
            const char* types, Arguments... arguments) {
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus_message* answer = nullptr;
    int result = library_.call_method(bus_, service, path, interface, method, &error, &answer, types, arguments...);
    if (result >= 0) result = read(answer);
    const std::string words = error.message == nullptr ? "" : error.message;
    library_.message_unref(answer);
    library_.error_free(&error);
    if (result < 0) throw failure(std::string(interface) + "." + method, result, words);
  }

  bool truth(const char* service, const char* path, const char* interface, const char* name) {
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int value = 0;
    const int result = library_.get_property_trivial(bus_, service, path, interface, name, &error, 'b', &value);
    const std::string words = error.message == nullptr ? "" : error.message;
    library_.error_free(&error);
    if (result < 0) throw failure(std::string(interface) + "." + name, result, words);
    return value != 0;
  }

  const SystemdLibrary& library() const { return library_; }

 private:
  static Error failure(const std::string& attempted, int result, const std::string& words = {}) {
    return Error(ErrorCode::kUnavailable, attempted + ": " + (words.empty() ? std::strerror(-result) : words));
  }

  void close() {
    // Forgotten first: from then on the number may be another's.
    all_.with([this](auto& connections) { connections.sockets.erase(socket_); });
    if (bus_ != nullptr) library_.close_unref(std::exchange(bus_, nullptr));
  }

  const SystemdLibrary& library_;
  os::Guarded<Connections>& all_;
  sd_bus* bus_ = nullptr;
  int socket_ = -1;
};

// Notifications' bodies are a subset of HTML where the desktop takes markup.
std::string without_markup(const std::string& text) {
  std::string plain;
  for (const char c : text) {
    if (c == '<')
      plain += "&lt;";
    else if (c == '>')
      plain += "&gt;";
    else if (c == '&')
      plain += "&amp;";
    else
      plain += c;
  }
  return plain;
}

}  // namespace

MessageBus::MessageBus() : impl_(std::make_unique<Impl>()) {}
MessageBus::~MessageBus() = default;

os::Fd MessageBus::inhibit(const std::string& what, const std::string& why) {
  Connection bus(Bus::kSystem, impl_->connections);
  os::Fd lock;
  const auto read = [&](sd_bus_message* answer) {
    int fd = -1;
    const int result = bus.library().message_read(answer, "h", &fd);
    if (result >= 0) lock.reset(::fcntl(fd, F_DUPFD_CLOEXEC, 3));  // the message's own goes with it
    return result;
  };
  bus.call(kLogind, kLogindPath, kLogindManager, "Inhibit", read, "ssss", what.c_str(), "runner", why.c_str(), "block");
  return lock;
}

bool MessageBus::user_is_idle(uid_t uid) {
  Connection bus(Bus::kSystem, impl_->connections);
  std::string user;
  const auto read = [&](sd_bus_message* answer) {
    const char* path = nullptr;
    const int result = bus.library().message_read(answer, "o", &path);
    if (result >= 0) user = path;
    return result;
  };
  bus.call(kLogind, kLogindPath, kLogindManager, "GetUser", read, "u", static_cast<std::uint32_t>(uid));
  // Not the manager's IdleHint: our own lock on idleness would make that false for ever.
  return bus.truth(kLogind, user.c_str(), "org.freedesktop.login1.User", "IdleHint");
}

bool MessageBus::kills_user_processes() {
  return Connection(Bus::kSystem, impl_->connections).truth(kLogind, kLogindPath, kLogindManager, "KillUserProcesses");
}

void MessageBus::notify(const std::string& summary, const std::string& body) {
  constexpr const char* kName = "org.freedesktop.Notifications";
  Connection bus(Bus::kSession, impl_->connections);
  const std::string plain = without_markup(body);
  const auto read = [](sd_bus_message*) { return 0; };
  bus.call(kName, "/org/freedesktop/Notifications", kName, "Notify", read, "susssasa{sv}i", "runner", std::uint32_t{0},
           "", summary.c_str(), plain.c_str(), 0, 0, kNotificationMillis);
}

void MessageBus::interrupt() {
  impl_->connections.with([](auto& connections) {
    connections.interrupted = true;
    for (const int socket : connections.sockets) ::shutdown(socket, SHUT_RDWR);
  });
}

}  // namespace runner::pipeline
