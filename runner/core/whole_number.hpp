// Integers out of parsed JSON (any library's value that has is_number_float() and get<T>()): what is written 1e300 or
// 0.5 is none. The library would convert it, which for a number that does not fit is undefined behaviour. Any thread.
#pragma once

namespace runner {

// Throws what the library throws for a value of another type.
template <class Integer, class Json>
Integer whole_number(const Json& value) {
  return value.is_number_float() ? Json(nullptr).template get<Integer>() : value.template get<Integer>();
}

// The same of a member that may be absent.
template <class Integer, class Json>
Integer whole_number_or(const Json& object, const char* key, Integer otherwise) {
  const auto member = object.find(key);
  return member == object.end() ? otherwise : whole_number<Integer>(*member);
}

}  // namespace runner
