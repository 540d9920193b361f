// What of a caller's variables decides where packages come from: kept with the run, so that a daemon that is started
// again asks the same places, and without the credentials in them. Pure; any thread.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace runner::envs {

using Variables = std::map<std::string, std::string>;

struct KeptVariables {
  Variables values;                   // PIP_*, UV_*, CONDA_*, MAMBA_*, proxies, certificates; URLs without credentials
  std::vector<std::string> withheld;  // names of those that had some, sorted
};
KeptVariables keep_build_variables(const Variables& caller);

// The variables of a build whose caller is forgotten: `own`, the daemon's, but where packages come from as it was kept.
// A withheld one is `own`'s if that differs in nothing but its credentials; else it goes without.
struct RestoredVariables {
  Variables variables;
  std::vector<std::string> missing;  // names of the withheld ones that `own` has not either
};
RestoredVariables restore_build_variables(const Variables& own, const KeptVariables& kept);

}  // namespace runner::envs
