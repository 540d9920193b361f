#include "envs/specification.hpp"

#include <sys/utsname.h>

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "envs/digest.hpp"
#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<SpecificationKind, std::string_view>, 6> kKinds{{
    {SpecificationKind::kInterpreter, "interpreter"},
    {SpecificationKind::kVenv, "venv"},
    {SpecificationKind::kConda, "conda"},
    {SpecificationKind::kImage, "image"},
    {SpecificationKind::kDockerfile, "dockerfile"},
    {SpecificationKind::kCondaImage, "conda-image"},
}};

// Each member under its name in the document, in the order in which people read them.
template <class Object, class Visit>
void for_each_member(Object& specification, const Visit& visit) {
  visit("interpreter", specification.interpreter);
  visit("image", specification.image);
  visit("channels", specification.channels);
  visit("conda", specification.conda);
  visit("pipOptions", specification.pip_options);
  visit("pip", specification.pip);
  visit("constraints", specification.constraints);
  visit("files", specification.files);
  visit("dockerfile", specification.dockerfile);
  visit("context", specification.context);
  visit("contextDigest", specification.context_digest);
  visit("buildArguments", specification.build_arguments);
  visit("dockerfilePath", specification.dockerfile_path);
}

class IdentityText {
 public:
  void add(const std::string& name, const std::string& value) {
    if (value.empty()) return;
    // A Dockerfile has lines of its own: indented, so that no value can look like another fact.
    std::string indented;
    for (const char c : value) {
      indented += c;
      if (c == '\n') indented += "    ";
    }
    text_ += name + ": " + indented + "\n";
  }
  void add(const std::string& name, const std::vector<std::string>& values) {
    for (const std::string& value : values) add(name, value);
  }
  void add(const std::string& name, const std::map<std::string, std::string>& values) {
    for (const auto& [key, value] : values) add(name, key + " = " + value);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

std::string_view to_string(SpecificationKind kind) {
  for (const auto& [known, name] : kKinds)
    if (known == kind) return name;
  return "interpreter";
}

std::string to_json(const Specification& specification) {
  json document{{"kind", to_string(specification.kind)}};
  for_each_member(specification, [&](const char* name, const auto& value) {
    if (!value.empty()) document[name] = value;
  });
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

Specification specification_from_json(std::string_view text) {
  try {
    const json document = json::parse(text);
    Specification specification;
    const auto kind = document.at("kind").get<std::string>();
    bool known = false;
    for (const auto& [value, name] : kKinds)
      if (name == kind) {
        specification.kind = value;
        known = true;
      }
    if (!known) throw Error(ErrorCode::kInternal, "environment specification: unknown kind '" + kind + "'");
    for_each_member(specification, [&](const char* name, auto& value) {
      if (const auto at = document.find(name); at != document.end()) at->get_to(value);
    });
    return specification;
  } catch (const json::exception& error) {
    throw Error(ErrorCode::kInternal, std::string("environment specification: ") + error.what());
  }
}

BuildBase this_platform() {
  ::utsname names{};
  ::uname(&names);
  return {.platform = std::string("linux-") + names.machine, .base = {}};
}

std::string identity_text(const Specification& specification, const BuildBase& base) {
  IdentityText text;
  text.add("kind", std::string(to_string(specification.kind)));
  text.add("platform", base.platform);
  text.add("base", base.base);
  for_each_member(specification, [&](const char* name, const auto& value) {
    const std::string_view member = name;
    // Where the files lie and what an image is called today does not matter once it is known what they are.
    const bool replaced =
        member == "context" || member == "dockerfilePath" ||
        (member == "image" && specification.kind == SpecificationKind::kCondaImage && !base.base.empty());
    if (!replaced) text.add(name, value);
  });
  return text.take();
}

Hash identity_of(const Specification& specification, const BuildBase& base) {
  return digest_of(identity_text(specification, base));
}

}  // namespace runner::envs
