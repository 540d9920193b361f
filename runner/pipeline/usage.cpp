// What a run uses: of a live one what its shim has written so far, of one that has ended the artifact.
#include "runner/shim/usage.hpp"

#include <algorithm>

#include "runner/pipeline/pipeline.hpp"
#include "runner/pipeline/post_mortem.hpp"

namespace runner::pipeline {

std::vector<shim::UsageSample> Pipeline::usage_of(const std::string& id) const {
  if (!is_final(history_.get(id).status)) {
    auto samples = shim::read_usage_file(data_.run(id).usage());
    // It may have ended just now, and its directory with it.
    if (!samples.empty() || !is_final(history_.get(id).status)) return samples;
  }
  const auto artifacts = history_.artifacts(id);
  const auto at =
      std::find_if(artifacts.begin(), artifacts.end(), [](const Artifact& a) { return a.name == kUsageName; });
  if (at == artifacts.end()) return {};
  return shim::parse_usage(content_.read_all(at->sha256));
}

}  // namespace runner::pipeline
