#include "store/damage.hpp"

namespace runner::store {

void Damage::report(Kind kind, const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (!finding_ || (finding_->kind == Kind::kRefused && kind == Kind::kCorrupt))
    finding_ = Finding{kind, what, utc_now()};
}

bool Damage::may_be_over() const {
  const std::lock_guard lock(mutex_);
  return finding_ && finding_->kind == Kind::kRefused;
}

void Damage::forget() {
  const std::lock_guard lock(mutex_);
  finding_.reset();
}

void Damage::mended() {
  const std::lock_guard lock(mutex_);
  if (finding_ && finding_->kind == Kind::kRefused) finding_.reset();
}

std::optional<Error> Damage::found() const {
  const std::lock_guard lock(mutex_);
  if (!finding_) return std::nullopt;
  return Error(ErrorCode::kUnavailable,
               finding_->what + ": nothing is written to it since " + to_iso8601(finding_->when),
               finding_->kind == Kind::kCorrupt
                   ? "`runner fsck` says what is damaged; when the file is whole again, `runner daemon stop`, and the "
                     "next command goes on where this stands"
                   : "look after the disk: as soon as it takes what is written, everything goes on; `runner fsck` says "
                     "whether something is damaged");
}

}  // namespace runner::store
