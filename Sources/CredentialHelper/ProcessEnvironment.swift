import Glibc

/// What the program takes from its environment, read once.
struct ProcessEnvironment: Sendable {
    /// The variables that matter, and their values.
    let variables: [String: String]

    /// The names that are read.
    static let names = [
        "DOCKER_RAM_ROOT", "DOCKER_CONFIG", "HOME", "PATH", "DISPLAY", "WAYLAND_DISPLAY", Self.depthName,
    ]

    /// Counts how often helpers have handed on to one another.
    static let depthName = "DOCKER_CREDENTIAL_RAM_DEPTH"

    /// The environment of this process.
    static var current: ProcessEnvironment {
        var variables: [String: String] = [:]
        for name in names {
            if let value = getenv(name) { variables[name] = String(cString: value) }
        }
        // As Docker does: without HOME, the user database knows the home directory.
        if variables["HOME"]?.isEmpty ?? true, let entry = getpwuid(getuid()), let directory = entry.pointee.pw_dir {
            variables["HOME"] = String(cString: directory)
        }
        return ProcessEnvironment(variables: variables)
    }

    /// Whether a keyring could show a window that asks for a password.
    var canPrompt: Bool {
        ["DISPLAY", "WAYLAND_DISPLAY"].contains { !(variables[$0] ?? "").isEmpty }
    }

    /// How often helpers have handed on before this one.
    var depth: Int { variables[Self.depthName].flatMap { Int($0) } ?? 0 }
}
