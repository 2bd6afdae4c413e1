/// A token, a password or the secret of a device: whatever prints it prints `<redacted>`, and only ``text`` gives it away.
public struct Token: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The secret itself.
    public let text: String

    /// A secret.
    ///
    /// - Parameter text: the secret itself.
    public init(_ text: String) {
        self.text = text
    }

    /// Not the secret.
    public var description: String { "<redacted>" }
    /// Not the secret.
    public var debugDescription: String { "<redacted>" }
    /// Not the secret.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
