// The one error of the project: what could not be done, why, and the way out.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace runner {

// Closed set; `http_status` and `exit_code` below are the only places that map it.
enum class ErrorCode {
  kInvalid,      // the request is wrong: unknown option, duration that does not parse, missing script
  kNotFound,     // no such run, file, snapshot
  kConflict,     // illegal state change, immutable property, second daemon, idempotency key with other content
  kPermission,   // the caller may not, or a file may not be read
  kNoSpace,      // disk or quota full
  kUnavailable,  // something the machine lacks: no OCI runtime, no user namespaces, no daemon
  kInternal,     // a defect or a damaged data directory
};

std::string_view to_string(ErrorCode code);        // "invalid", "notFound", … as in the API's JSON
ErrorCode error_code_from(std::string_view name);  // kInternal for an unknown name
int http_status(ErrorCode code);
int exit_code(ErrorCode code);  // cli.md: 2, 3, 4, 5, 125

// Thrown by every function that cannot do its job. `what()` is one line: the context trail, then the message.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message, std::string hint = {});

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& hint() const noexcept { return hint_; }  // empty: none
  const char* what() const noexcept override { return message_.c_str(); }

  // The same error, said from one level further out: "while building environment x: …".
  Error within(std::string_view context) const;

 private:
  ErrorCode code_;
  std::string message_;
  std::string hint_;
};

// An errno as the matching Error: "open /x: No space left on device". EACCES/EPERM → kPermission, ENOSPC/EDQUOT →
// kNoSpace, ENOENT → kNotFound, anything else → `otherwise`.
Error errno_error(int errnum, std::string_view attempted, ErrorCode otherwise = ErrorCode::kInternal);

}  // namespace runner
