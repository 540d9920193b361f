#include "runner/api/run_requests.hpp"

#include <array>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "runner/core/error.hpp"
#include "runner/core/run_bounds.hpp"

namespace runner::api {
namespace {

using nlohmann::json;

// One object of a request: every member is asked for by its name, and none may be left over.
class RequestObject {
 public:
  RequestObject(std::string_view text, std::string what) : what_(std::move(what)) {
    document_ = json::parse(text.empty() ? "{}" : text, nullptr, false);
    if (!document_.is_object()) throw Error(ErrorCode::kInvalid, what_ + ": not a JSON object");
  }
  RequestObject(json document, std::string what) : what_(std::move(what)), document_(std::move(document)) {
    if (!document_.is_object()) throw Error(ErrorCode::kInvalid, what_ + ": must be an object");
  }

  // Nothing where it is absent or null.
  std::optional<json> take(const char* name) {
    const auto at = document_.find(name);
    if (at == document_.end()) return std::nullopt;
    json value = std::move(*at);
    document_.erase(at);
    return value.is_null() ? std::nullopt : std::optional(std::move(value));
  }

  std::optional<std::string> text(const char* name) {
    const auto value = take(name);
    if (!value) return std::nullopt;
    if (!value->is_string()) throw wrong(name, "a string");
    return value->get<std::string>();
  }
  std::string needed_text(const char* name) {
    auto value = text(name);
    if (!value || value->empty()) throw wrong(name, "given: a string that is not empty");
    return *value;
  }
  // Of a run.
  std::optional<std::string> run_name() {
    auto name = text("name");
    if (name) check_run_name(what_, *name);
    return name;
  }
  std::string needed_path(const char* name) {
    std::string path = needed_text(name);
    if (!path.starts_with('/') || path.find('\0') != std::string::npos) throw wrong(name, "an absolute path");
    return path;
  }
  Tags tags(const char* name) {
    Tags tags;
    for_each(name, [&](const std::string& key, const json& value) {
      if (!value.is_null() && !value.is_string()) throw wrong(name, "an object of strings or nulls");
      if (value.is_string()) check_value(what_, name, key, value.get_ref<const std::string&>());
      tags.emplace(key, value.is_null() ? std::nullopt : std::optional(value.get<std::string>()));
    });
    return tags;
  }
  Properties properties(const char* name) {
    Properties properties;
    for_each(name, [&](const std::string& key, const json& value) {
      if (!value.is_string()) throw wrong(name, "an object of strings");
      check_value(what_, name, key, value.get_ref<const std::string&>());
      properties.emplace(key, value.get<std::string>());
    });
    return properties;
  }
  void finish() const {
    if (!document_.empty())
      throw Error(ErrorCode::kInvalid, what_ + ": unknown member '" + document_.begin().key() + "'",
                  "GET /openapi.json lists the members");
  }
  Error wrong(const char* name, const std::string& expected) const {
    return Error(ErrorCode::kInvalid, what_ + ": '" + name + "' must be " + expected);
  }

 private:
  void for_each(const char* name, const std::function<void(const std::string&, const json&)>& visit) {
    const auto value = take(name);
    if (!value) return;
    if (!value->is_object()) throw wrong(name, "an object");
    check_count(what_, name, value->size());
    for (const auto& [key, item] : value->items()) {
      check_key(what_, name, key);
      visit(key, item);
    }
  }

  const std::string what_;
  json document_;
};

template <class Number>
Number needed_number(RequestObject& object, const char* name) {
  const auto value = object.take(name);
  if (!value || !value->is_number_unsigned() || value->get<std::uint64_t>() == 0 ||
      value->get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<Number>::max()))
    throw object.wrong(name, "a whole number above zero");
  return value->get<Number>();
}

std::string uuid4_of(RequestObject& object, const char* name) {
  auto id = object.text(name);
  if (!id) return new_uuid4();
  if (!is_uuid4(*id)) throw object.wrong(name, "a uuid4 in lower case");
  return *id;
}

}  // namespace

bool is_uuid4(std::string_view text) {
  constexpr std::string_view kShape = "xxxxxxxx-xxxx-4xxx-vxxx-xxxxxxxxxxxx";
  if (text.size() != kShape.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view allowed = kShape[i] == 'x'   ? "0123456789abcdef"
                                     : kShape[i] == 'v' ? "89ab"
                                                        : kShape.substr(i, 1);
    if (allowed.find(text[i]) == std::string_view::npos) return false;
  }
  return true;
}

std::string new_uuid4() {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::random_device entropy;  // getrandom(2) or the CPU's own
  std::string id = "xxxxxxxx-xxxx-4xxx-vxxx-xxxxxxxxxxxx";
  std::uint32_t bits = 0;
  int left = 0;
  for (char& c : id) {
    if (c != 'x' && c != 'v') continue;
    if (left == 0) {
      bits = entropy();
      left = 8;
    }
    c = kDigits[c == 'v' ? 8 + (bits & 3) : bits & 15];
    bits >>= 4;
    --left;
  }
  return id;
}

RunPatch parse_run_patch(std::string_view text) {
  RequestObject object(text, "change of a run");
  RunPatch patch{.name = object.run_name(),
                 .tags = object.tags("tags"),
                 .remove_tags = {},
                 .properties = object.properties("properties")};
  if (const auto keys = object.take("removeTags")) {
    if (!keys->is_array()) throw object.wrong("removeTags", "a list of strings");
    for (const json& key : *keys) {
      if (!key.is_string()) throw object.wrong("removeTags", "a list of strings");
      patch.remove_tags.push_back(key.get<std::string>());
    }
  }
  if (patch.name && patch.name->empty()) throw object.wrong("name", "a string that is not empty");
  object.finish();
  return patch;
}

std::vector<ChildRequest> parse_children(std::string_view text) {
  RequestObject object(text, "children");
  auto list = object.take("children");
  if (!list || !list->is_array() || list->empty() || list->size() > kMaxChildren)
    throw object.wrong("children", "a list of 1 to " + std::to_string(kMaxChildren) + " objects");
  object.finish();
  std::vector<ChildRequest> children;
  children.reserve(list->size());
  std::size_t said = 0;
  for (json& item : *list) {
    RequestObject child(std::move(item), "children");
    children.push_back({.id = uuid4_of(child, "id"),
                        .name = child.run_name().value_or(""),
                        .tags = child.tags("tags"),
                        .properties = child.properties("properties")});
    child.finish();
    said += children.back().name.size();
    for (const auto& [key, value] : children.back().tags) said += key.size() + value.value_or("").size();
    if (said > kMaxChildrenText)  // runs are found by these: all are indexed in one transaction
      throw Error(ErrorCode::kInvalid,
                  "children: names and tags are longer than " + std::to_string(kMaxChildrenText) + " bytes together",
                  "create them in several requests");
  }
  return children;
}

EndRequest parse_end(std::string_view text) {
  RequestObject object(text, "end of a run");
  EndRequest end;
  const auto status = run_status_from(object.needed_text("status"));
  if (!status || !is_final(*status)) throw object.wrong("status", "Completed, Failed or Canceled");
  end.status = *status;
  if (auto error = object.take("error")) {
    RequestObject given(std::move(*error), "end of a run: 'error'");
    // Cut, not refused: the end is what counts.
    end.error = RunError{.code = shortened(given.text("code").value_or("UserError"), kMaxKey),
                         .message = shortened(given.text("message").value_or(""), kMaxReason)};
    given.finish();
    if (end.status == RunStatus::kCompleted) throw object.wrong("error", "left out of a run that is Completed");
  }
  object.finish();
  return end;
}

InteractiveRequest parse_interactive(std::string_view text) {
  RequestObject object(text, "interactive run");
  InteractiveRequest request{.id = object.text("id"),
                             .experiment = object.needed_text("experiment"),
                             .name = object.run_name(),
                             .tags = object.tags("tags"),
                             .properties = object.properties("properties")};
  if (request.id && !is_uuid4(*request.id)) throw object.wrong("id", "a uuid4 in lower case");
  auto process = object.take("process");
  if (!process) throw object.wrong("process", "given: {\"pid\": …, \"startTicks\": …}");
  RequestObject identity(std::move(*process), "interactive run: 'process'");
  request.pid = needed_number<pid_t>(identity, "pid");
  request.start_ticks = needed_number<std::uint64_t>(identity, "startTicks");
  identity.finish();
  request.source_directory = object.text("sourceDirectory");
  if (request.source_directory && !request.source_directory->starts_with('/'))
    throw object.wrong("sourceDirectory", "an absolute path");
  if (const auto named = object.take("sourceDirectoryExplicit")) {
    if (!named->is_boolean()) throw object.wrong("sourceDirectoryExplicit", "true or false");
    request.source_directory_explicit = named->get<bool>();
  }
  request.outputs = object.text("outputs");
  if (request.outputs && (!request.outputs->starts_with('/') || request.outputs->find('\0') != std::string::npos))
    throw object.wrong("outputs", "an absolute path");
  object.finish();
  return request;
}

UploadRequest parse_upload(std::string_view text) {
  RequestObject object(text, "file of a run");
  UploadRequest request{.name = object.needed_text("name"), .path = object.needed_path("path")};
  object.finish();
  return request;
}

}  // namespace runner::api
