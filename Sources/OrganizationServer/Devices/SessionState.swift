/// Whether somebody is signed in on a device.
enum SessionState: String, Sendable {
    /// Nobody has signed in.
    case none
    /// Somebody is signed in.
    case active
    /// Somebody was, and that was ended or is over.
    case ended
}
