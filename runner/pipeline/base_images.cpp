#include "runner/pipeline/base_images.hpp"

#include <algorithm>

#include "envs/build_context.hpp"
#include "envs/digest.hpp"
#include "envs/image.hpp"

namespace runner::pipeline {

std::optional<BaseImages> look_at_bases(const std::vector<std::string>& images, engine::Engine& engine) {
  BaseImages bases;
  for (const std::string& name : images) {
    const auto image = engine.inspect_image(name);
    if (!image) return std::nullopt;
    envs::require_platform(*image, name, engine.facts());
    bases.ids += (bases.ids.empty() ? "" : " ") + image->id;
    bases.copies_context =
        bases.copies_context || std::any_of(image->on_build.begin(), image->on_build.end(), &envs::needs_context);
  }
  return bases;
}

void take_context(envs::Specification& dockerfile, const BaseImages& bases, const std::string& source,
                  const std::filesystem::path& cache) {
  if (dockerfile.context.empty() && bases.copies_context) dockerfile.context = source;
  if (dockerfile.context.empty() || !dockerfile.context_digest.empty()) return;
  dockerfile.context_digest =
      envs::BuildContext(dockerfile.context, dockerfile.dockerfile, dockerfile.dockerfile_path, cache.parent_path())
          .digest(cache / ("context-" + envs::digest_of(std::string_view(dockerfile.context)).hex()));
}

}  // namespace runner::pipeline
