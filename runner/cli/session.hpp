// One command's conversation with its daemon: connects when first asked, starts the daemon when it may.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runner/cli/options.hpp"
#include "runner/cli/place.hpp"
#include "runner/http/client.hpp"

namespace runner::cli {

class Session {
 public:
  explicit Session(const GlobalOptions& options);

  const GlobalOptions& options() const { return options_; }
  bool json() const { return options_.json; }
  const Place& place() const { return place_; }

  // The connection. Error(kUnavailable) if there is no daemon and --no-autostart forbids one.
  http::Client& client();
  // The body of a successful answer. A GET that a daemon's end cuts short is asked once more, of the next daemon.
  std::string get(std::string_view target);
  std::string post(std::string_view target, std::string_view body);
  std::string remove(std::string_view target);  // DELETE
  // The same for an answer that takes as long as the run: a daemon that dies meanwhile is found again and asked again.
  std::string get_patiently(std::string_view target);

  // After ConnectionLost: connects again. Starts a new daemon if the old one died; if it was stopped on purpose, waits
  // for another one for half a minute, then Error(kUnavailable).
  void reconnect();
  // A POST during which the daemon may have to say something first: printed as a warning at once.
  std::string post_with_notices(const std::string& target, std::string_view body);
  // Passed on to every connection (http::Client::interrupt_on).
  void interrupt_on(int fd);

 private:
  void use(std::unique_ptr<http::Client> client);

  GlobalOptions options_;
  Place place_;
  std::unique_ptr<http::Client> client_;
  int interrupt_fd_ = -1;
};

// "/v1/runs/NAME" with the name encoded, and what follows it.
std::string run_target(std::string_view run, std::string_view rest = {});
std::string snapshot_target(std::string_view snapshot, std::string_view rest = {});
std::string environment_target(std::string_view environment, std::string_view rest = {});

}  // namespace runner::cli
