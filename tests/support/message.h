#pragma once

#include <string>

#include "../../core/error.h"

namespace tapegrad::testing {

/// Returns the message of the Error that act() throws.
template <class Act>
std::string message_of(Act&& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace tapegrad::testing
