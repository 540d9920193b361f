// One container through the Docker Engine: create, start, follow to its end. The shim's right hand: it decides nothing.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "runner/http/unix_transfers.hpp"
#include "runner/os/fd.hpp"
#include "runner/shim/engine_protocol.hpp"

namespace runner {

// container.json, written by runner/exec: {"version": 1, "socket", "api": "/v1.41", "name", "create": {…}}.
struct ContainerOrder {
  std::filesystem::path socket;
  std::string api;
  std::string name;
  std::string create;  // the body of POST /containers/create
};
ContainerOrder read_order(const std::filesystem::path& file);

// One thread, one poll: the Engine's answers and the shim's words. Nothing is asked twice unless a connection broke.
class ContainerLife {
 public:
  // `id`: of a container that lives already, which is only followed; empty: it is to be made.
  ContainerLife(ContainerOrder order, os::Fd shim, std::string id);

  // Returns when the container has ended and the shim was told, or when the shim is gone. Error, in the Engine's words,
  // if the container could not be created or started.
  void run();

 private:
  struct ShimGone {};
  enum class State { kRunning, kEnded };

  std::string create();
  void start(const std::string& id);
  void follow(const std::string& id);
  State inspect(const std::string& id);
  void pause(char word);
  void answer_pause(bool wanted, const http::TransferResult& result);
  void hear_shim();
  void tell_shim(const shim::EngineRecord& record);
  http::TransferResult ask(http::TransferRequest request);

  ContainerOrder order_;
  os::Fd shim_;
  http::UnixTransfers transfers_;
  std::string id_;  // empty until it is created
};

}  // namespace runner
