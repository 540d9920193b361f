#include "runner/core/error.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace runner {
namespace {

struct CodeRow {
  ErrorCode code;
  std::string_view name;
  int http_status;
  int exit_code;
};

constexpr std::array kCodes{
    CodeRow{ErrorCode::kInvalid, "invalid", 400, 2},     CodeRow{ErrorCode::kNotFound, "notFound", 404, 3},
    CodeRow{ErrorCode::kConflict, "conflict", 409, 4},   CodeRow{ErrorCode::kPermission, "permission", 403, 5},
    CodeRow{ErrorCode::kNoSpace, "noSpace", 507, 125},   CodeRow{ErrorCode::kUnavailable, "unavailable", 503, 125},
    CodeRow{ErrorCode::kInternal, "internal", 500, 125},
};

const CodeRow& row_of(ErrorCode code) {
  for (const CodeRow& row : kCodes)
    if (row.code == code) return row;
  return kCodes.back();
}

}  // namespace

std::string_view to_string(ErrorCode code) { return row_of(code).name; }
int http_status(ErrorCode code) { return row_of(code).http_status; }
int exit_code(ErrorCode code) { return row_of(code).exit_code; }

ErrorCode error_code_from(std::string_view name) {
  for (const CodeRow& row : kCodes)
    if (row.name == name) return row.code;
  return ErrorCode::kInternal;
}

Error::Error(ErrorCode code, std::string message, std::string hint)
    : code_(code), message_(std::move(message)), hint_(std::move(hint)) {}

Error Error::within(std::string_view context) const {
  return Error(code_, std::string(context) + ": " + message_, hint_);
}

Error errno_error(int errnum, std::string_view attempted, ErrorCode otherwise) {
  ErrorCode code = otherwise;
  switch (errnum) {
    case EACCES:
    case EPERM:
      code = ErrorCode::kPermission;
      break;
    case ENOSPC:
    case EDQUOT:
      code = ErrorCode::kNoSpace;
      break;
    case ENOENT:
      code = ErrorCode::kNotFound;
      break;
    default:
      break;
  }
  std::string hint;
  if (code == ErrorCode::kNoSpace) hint = "free some disk space and try again";
  return Error(code, std::string(attempted) + ": " + std::strerror(errnum), hint);
}

}  // namespace runner
