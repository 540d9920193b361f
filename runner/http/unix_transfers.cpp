#include "runner/http/unix_transfers.hpp"

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/http/curl_library_handle.hpp"

namespace runner::http {
namespace {

constexpr int kAskMillis = 1000;   // between two looks at `stop`
constexpr long kFirstError = 300;  // statuses: from here on a body is the server's complaint, never handed on

struct Transfer {
  TransferRequest request;
  UnixTransfers::Done done;
  std::string body;
  bool stopped = false;
  bool too_large = false;
  std::exception_ptr thrown;
  curl_slist* headers = nullptr;
};

long status_of(CURL* easy) {
  long status = 0;
  CurlLibrary::get().easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

struct Running {
  CURL* easy;
  Transfer transfer;
};

// Nothing is thrown through libcurl, which is C: it is kept, and `otherwise` ends the transfer.
template <class Result, class Action>
Result guarded(Transfer& transfer, Result otherwise, Action&& action) {
  try {
    return action();
  } catch (...) {
    transfer.thrown = std::current_exception();
    transfer.stopped = true;
    return otherwise;
  }
}

std::size_t on_body(char* bytes, std::size_t, std::size_t size, void* context) {
  auto& running = *static_cast<Running*>(context);
  Transfer& transfer = running.transfer;
  if (transfer.request.on_piece && status_of(running.easy) < kFirstError) {
    if (guarded(transfer, false, [&] { return transfer.request.on_piece({bytes, size}); })) return size;
    transfer.stopped = true;
    return 0;
  }
  if (transfer.body.size() + size > UnixTransfers::kMostCollected) {
    transfer.too_large = true;
    return 0;
  }
  transfer.body.append(bytes, size);
  return size;
}

std::size_t on_read(char* bytes, std::size_t, std::size_t size, void* context) {
  Transfer& transfer = static_cast<Running*>(context)->transfer;
  return guarded(transfer, std::size_t{CURL_READFUNC_ABORT},
                 [&] { return transfer.request.body_from(std::as_writable_bytes(std::span(bytes, size))); });
}

int on_progress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  Transfer& transfer = static_cast<Running*>(context)->transfer;
  if (!guarded(transfer, true, [&] { return transfer.request.stop(); })) return 0;
  transfer.stopped = true;
  return 1;
}

}  // namespace

class UnixTransfers::Impl {
 public:
  explicit Impl(std::filesystem::path socket) : socket_(std::move(socket)) {
    multi_ = curl_.multi_init();
    if (multi_ == nullptr) throw Error(ErrorCode::kUnavailable, "libcurl could not be initialised");
  }
  ~Impl() {
    for (auto& [easy, running] : running_) release(*running);
    curl_.multi_cleanup(multi_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  const std::filesystem::path& socket() const { return socket_; }

  void begin(TransferRequest request, Done done) {
    auto running = std::make_unique<Running>();
    running->easy = curl_.easy_init();
    if (running->easy == nullptr) throw Error(ErrorCode::kUnavailable, "libcurl: out of memory");
    running->transfer.request = std::move(request);
    running->transfer.done = std::move(done);
    prepare(*running);
    curl_.multi_add_handle(multi_, running->easy);
    running_.emplace(running->easy, std::move(running));
    advance();
  }

  void wait(std::span<pollfd> watched, std::optional<std::chrono::milliseconds> limit) {
    for (pollfd& fd : watched) fd.revents = 0;
    if (deliver()) return;  // what ended while others were begun, or at once: the caller waits for just that
    if (running_.empty() && watched.empty()) return;
    std::vector<curl_waitfd> extra;
    for (const pollfd& fd : watched) extra.push_back({.fd = fd.fd, .events = CURL_WAIT_POLLIN, .revents = 0});
    constexpr int kForever = 1 << 30;  // milliseconds: twelve days; libcurl has no "for ever"
    int most = limit ? static_cast<int>(std::clamp<std::int64_t>(limit->count(), 0, kForever)) : kForever;
    // libcurl asks `stop` whenever it is called, and does not wake up for it by itself.
    const bool asks = std::any_of(running_.begin(), running_.end(),
                                  [](const auto& entry) { return entry.second->transfer.request.stop != nullptr; });
    if (asks) most = std::min(most, kAskMillis);
    curl_.multi_poll(multi_, extra.data(), static_cast<unsigned>(extra.size()), most, nullptr);
    for (std::size_t i = 0; i < extra.size(); ++i) watched[i].revents = extra[i].revents != 0 ? POLLIN : short{0};
    advance();
    deliver();
  }

  bool idle() const { return running_.empty() && finished_.empty(); }

 private:
  void prepare(Running& running) {
    CURL* easy = running.easy;
    Transfer& transfer = running.transfer;
    const TransferRequest& request = transfer.request;
    curl_.easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, socket_.c_str());
    curl_.easy_setopt(easy, CURLOPT_URL, ("http://engine" + request.target).c_str());
    curl_.easy_setopt(easy, CURLOPT_PROXY, "");  // http_proxy is not meant for a socket of this machine
    curl_.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_.easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
    curl_.easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_.easy_setopt(easy, CURLOPT_WRITEDATA, &running);
    if (request.method == "HEAD") curl_.easy_setopt(easy, CURLOPT_NOBODY, 1L);
    curl_.easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    for (const std::string& header : request.headers)
      transfer.headers = curl_.slist_append(transfer.headers, header.c_str());
    // curl would ask for permission first (100-continue) and wait a second for it.
    transfer.headers = curl_.slist_append(transfer.headers, "Expect:");
    if (request.body_from) {
      curl_.easy_setopt(easy, CURLOPT_UPLOAD, 1L);  // of unknown size: chunked
      curl_.easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
      curl_.easy_setopt(easy, CURLOPT_READDATA, &running);
      // A connection that had died meanwhile would want the body from its beginning.
      curl_.easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    } else if (!request.body.empty() || request.method == "POST") {
      transfer.headers = curl_.slist_append(transfer.headers, "Content-Type: application/json");
      curl_.easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
      curl_.easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    }
    curl_.easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.headers);
    if (request.limit) curl_.easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.limit->count()));
    if (request.stop) {
      curl_.easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
      curl_.easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
      curl_.easy_setopt(easy, CURLOPT_XFERINFODATA, &running);
    }
  }

  void advance() {
    int alive = 0;
    curl_.multi_perform(multi_, &alive);
    int left = 0;
    while (const CURLMsg* message = curl_.multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURL* easy = message->easy_handle;
      const CURLcode code = message->data.result;
      const auto at = running_.find(easy);
      finished_.emplace_back(std::move(at->second->transfer.done), result_of(*at->second, code));
      release(*at->second);
      running_.erase(at);
    }
  }

  // Outside of libcurl's own calls: `done` may begin others.
  bool deliver() {
    const bool any = !finished_.empty();
    while (!finished_.empty()) {
      auto batch = std::exchange(finished_, {});
      for (auto& [done, result] : batch)
        if (done) done(std::move(result));
    }
    return any;
  }

  TransferResult result_of(Running& running, CURLcode code) {
    using Kind = TransferResult::Kind;
    TransferResult result;
    Transfer& transfer = running.transfer;
    if (code == CURLE_OK) {
      result.kind = Kind::kAnswered;
      result.status = static_cast<int>(status_of(running.easy));
      result.body = std::move(transfer.body);
      return result;
    }
    result.words = curl_.easy_strerror(code);
    result.thrown = transfer.thrown;
    if (transfer.stopped) {
      result.kind = Kind::kStopped;
    } else if (transfer.too_large) {
      result.words = "an answer of more than " + std::to_string(kMostCollected) + " bytes";
    } else if (code == CURLE_COULDNT_CONNECT) {
      result.kind = Kind::kUnreachable;
      long error = 0;
      curl_.easy_getinfo(running.easy, CURLINFO_OS_ERRNO, &error);
      result.os_error = static_cast<int>(error);
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
      result.kind = Kind::kTimedOut;
    }
    return result;
  }

  void release(Running& running) {
    curl_.multi_remove_handle(multi_, running.easy);
    curl_.easy_cleanup(running.easy);
    curl_.slist_free_all(running.transfer.headers);
  }

  const CurlLibrary& curl_ = CurlLibrary::get();
  const std::filesystem::path socket_;
  CURLM* multi_ = nullptr;
  std::map<CURL*, std::unique_ptr<Running>> running_;
  std::vector<std::pair<Done, TransferResult>> finished_;
};

UnixTransfers::UnixTransfers(std::filesystem::path socket) : impl_(std::make_unique<Impl>(std::move(socket))) {}
UnixTransfers::~UnixTransfers() = default;
UnixTransfers::UnixTransfers(UnixTransfers&&) noexcept = default;

const std::filesystem::path& UnixTransfers::socket() const { return impl_->socket(); }
void UnixTransfers::begin(TransferRequest request, Done done) { impl_->begin(std::move(request), std::move(done)); }
void UnixTransfers::wait(std::span<pollfd> watched, std::optional<std::chrono::milliseconds> limit) {
  impl_->wait(watched, limit);
}

TransferResult UnixTransfers::call(TransferRequest request) {
  std::optional<TransferResult> result;
  begin(std::move(request), [&result](TransferResult ended) { result = std::move(ended); });
  while (!result) wait({}, std::nullopt);
  if (result->thrown) std::rethrow_exception(result->thrown);
  return std::move(*result);
}

}  // namespace runner::http
