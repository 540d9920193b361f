// A server on a unix socket that does what a test says, byte for byte. Every connection has a thread; all end with the
// object, whatever they wait for.
#pragma once

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "runner/os/fd.hpp"

namespace runner::http::test {

struct Answer {
  std::vector<std::string> pieces{};  // sent one after the other
  bool close = false;                 // the connection, after the last one; else it serves the next request
  bool hang = false;                  // after the last piece, until the client goes
  // Called between two pieces; a test waits here for what the client makes of the piece before.
  std::function<void()> between{};
};

using Answers = std::vector<Answer>;

inline Answer answer(int status, const std::string& body) {
  return {.pieces = {"HTTP/1.1 " + std::to_string(status) +
                     " Whatever\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                     "\r\n\r\n" + body}};
}

inline std::string chunk(std::string_view bytes) {
  std::array<char, 24> size{};
  std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
  return size.data() + std::string(bytes) + "\r\n";
}
inline constexpr const char* kChunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

class ScriptedServer {
 public:
  using Handler = std::function<Answer(const std::string& request)>;

  explicit ScriptedServer(Handler handler) : handler_(std::move(handler)) {
    std::string pattern = (std::filesystem::temp_directory_path() / "scripted-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    directory_ = pattern;
    socket_ = directory_ / "s";
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket_.c_str(), sizeof address.sun_path - 1);
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 16) != 0)
      throw std::runtime_error("listen");
    acceptor_ = std::thread([this] { accept_all(); });
  }
  // The answers in the order of requests; one request more than answers is a closed connection.
  explicit ScriptedServer(std::vector<Answer> answers)
      : ScriptedServer(
            [answers = std::move(answers), next = std::make_shared<std::atomic<std::size_t>>(0)](const std::string&) {
              const std::size_t at = (*next)++;
              return at < answers.size() ? answers[at] : Answer{.close = true};
            }) {}
  ~ScriptedServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    std::vector<std::thread> threads;
    {
      const std::lock_guard lock(mutex_);
      for (const os::Fd& peer : peers_) ::shutdown(peer.get(), SHUT_RDWR);
      threads.swap(threads_);
    }
    for (std::thread& thread : threads) thread.join();
    std::filesystem::remove_all(directory_);
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  const std::filesystem::path& socket() const { return socket_; }
  const std::filesystem::path& directory() const { return directory_; }
  std::vector<std::string> requests() const {  // heads and bodies as they came
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  std::vector<std::string> first_lines() const {
    std::vector<std::string> lines;
    for (const std::string& request : requests()) lines.push_back(request.substr(0, request.find(" HTTP/1.1\r\n")));
    return lines;
  }
  std::size_t connections() const {
    const std::lock_guard lock(mutex_);
    return peers_.size();
  }

 private:
  void accept_all() {
    for (;;) {
      const int peer = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (peer < 0) return;
      const std::lock_guard lock(mutex_);
      peers_.emplace_back(peer);
      threads_.emplace_back([this, peer] { serve(peer); });
    }
  }
  void serve(int peer) {
    std::string buffered;
    for (;;) {
      const std::string request = read_request(peer, buffered);
      if (request.empty()) break;
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      const Answer answer = handler_(request);
      for (std::size_t i = 0; i < answer.pieces.size(); ++i) {
        if (i > 0 && answer.between) answer.between();
        send_all(peer, answer.pieces[i]);
      }
      if (answer.hang) await_end(peer);
      if (answer.hang || answer.close) break;
    }
    ::shutdown(peer, SHUT_RDWR);  // the number stays ours until the end: it must not be closed under another thread
  }
  static std::string read_request(int peer, std::string& buffered) {
    for (;;) {
      if (const auto end = buffered.find("\r\n\r\n"); end != std::string::npos) {
        const auto at = buffered.find("Content-Length: ");
        const std::size_t body = at < end ? std::strtoul(buffered.c_str() + at + 16, nullptr, 10) : 0;
        const std::size_t size = end + 4 + body;
        if (buffered.size() >= size) {
          std::string request = buffered.substr(0, size);
          buffered.erase(0, size);
          return request;
        }
      }
      std::array<char, 4096> bytes;
      const ssize_t got = ::recv(peer, bytes.data(), bytes.size(), 0);
      if (got <= 0) return {};
      buffered.append(bytes.data(), static_cast<std::size_t>(got));
    }
  }
  static void send_all(int peer, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // the client went away, as some tests want it
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  static void await_end(int peer) {
    std::array<char, 256> bytes;
    while (::recv(peer, bytes.data(), bytes.size(), 0) > 0) {
    }
  }

  const Handler handler_;
  std::filesystem::path directory_;
  std::filesystem::path socket_;
  os::Fd listener_;
  std::thread acceptor_;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::vector<os::Fd> peers_;
  std::vector<std::thread> threads_;
};

}  // namespace runner::http::test
