#include "store/damage.hpp"

namespace runner::store {

void Damage::report(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (!finding_) finding_ = Finding{what, utc_now()};
}

std::optional<Error> Damage::found() const {
  const std::lock_guard lock(mutex_);
  if (!finding_) return std::nullopt;
  return Error(ErrorCode::kUnavailable,
               finding_->what + ": nothing is written to it since " + to_iso8601(finding_->when),
               "`runner fsck` says what is damaged; when the disk is well, `runner daemon stop`, and the next command "
               "goes on where this stands");
}

}  // namespace runner::store
