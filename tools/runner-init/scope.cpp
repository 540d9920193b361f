#include "tools/runner-init/scope.hpp"

#include <sys/prctl.h>
#include <unistd.h>
#include <cstdint>

namespace runner::init {
namespace {

// linux/landlock.h of Linux 6.12; the one that this is built with may be older. The numbers are those of every machine.
constexpr long kCreateRuleset = 444;
constexpr long kRestrictSelf = 446;
constexpr unsigned kCreateRulesetVersion = 1;
constexpr int kFirstWithScopes = 6;  // of the interface
constexpr std::uint64_t kScopeAbstractUnixSocket = 1;
constexpr std::uint64_t kScopeSignal = 2;
struct RulesetAttributes {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;
  std::uint64_t scoped;
};

}  // namespace

void keep_to_this_container() {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::syscall(kCreateRuleset, nullptr, 0, kCreateRulesetVersion) < kFirstWithScopes) return;
  const RulesetAttributes attributes{0, 0, kScopeAbstractUnixSocket | kScopeSignal};
  const long ruleset = ::syscall(kCreateRuleset, &attributes, sizeof attributes, 0U);  // close-on-exec by itself
  if (ruleset < 0) return;
  ::syscall(kRestrictSelf, ruleset, 0U);
  ::close(static_cast<int>(ruleset));
}

}  // namespace runner::init
