import RegistryAccess

/// Why docker-ramd does not do what somebody wants over the control socket.
struct ControlRefusal: Error {
    /// Names the reason, for programs.
    let code: String
    /// The reason, lower-case.
    let text: String
    /// What to do next.
    let hint: String

    /// The line that is answered.
    var line: JSONValue {
        .object([
            JSONMember(
                "refused",
                .object([
                    JSONMember("code", .string(code)), JSONMember("text", .string(text)),
                    JSONMember("hint", .string(hint)),
                ])
            )
        ])
    }
}
