#include "runner/pipeline/environment_rows.hpp"

#include "envs/build_context.hpp"
#include "runner/core/time.hpp"

namespace runner::pipeline {

store::StoredEnvironment environment_row(const envs::Specification& specification, const envs::BuildBase& base) {
  return {.digest = envs::identity_of(specification, base),
          .kind = std::string(to_string(specification.kind)),
          .specification = envs::to_json(specification),
          .identity = envs::identity_text(specification, base),
          .created = utc_now()};
}

std::vector<std::string> images_of(const envs::Specification& specification) {
  if (specification.kind == envs::SpecificationKind::kDockerfile)
    return envs::base_images(specification.dockerfile, specification.build_arguments);
  if (specification.kind == envs::SpecificationKind::kCondaImage) return {specification.image};
  return {};
}

bool needs_build(const envs::Specification& specification) {
  return specification.kind != envs::SpecificationKind::kInterpreter &&
         specification.kind != envs::SpecificationKind::kImage;
}

bool is_built(const EnvironmentRef& environment) {
  return environment.kind == "venv" || environment.kind == "conda" || environment.kind == "conda-image" ||
         environment.kind == "dockerfile";
}

}  // namespace runner::pipeline
