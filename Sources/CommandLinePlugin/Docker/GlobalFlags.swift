/// What may stand before the plugin's name on Docker's command line, and goes back to `docker` where we call it.
///
/// Docker hands its own flags to plugins as they were written (docker/cli, `cli/flags/options.go`).
struct GlobalFlags: Sendable, Equatable {
    /// The flags as they were written.
    var arguments: [String] = []
    /// The value of `--config`.
    var configDirectory: String?
    /// The value of our own `--root`.
    var root: String?
    /// Whether `--help` or `-h` stood among them.
    var wantsHelp = false

    private static let withValue: Set<String> = [
        "config", "context", "host", "log-level", "tlscacert", "tlscert", "tlskey",
    ]
    private static let withoutValue: Set<String> = ["debug", "tls", "tlsverify"]
    private static let short: [Character: String] = ["c": "context", "H": "host", "l": "log-level", "D": "debug"]

    /// Why flags cannot be read, in Docker's words.
    struct Unreadable: Error, Equatable {
        let message: String
    }

    /// Takes the flags from the front of a command line.
    ///
    /// - Parameter rest: the command line; what is not a flag or its value stays.
    /// - Throws: ``Unreadable`` if one of them is not Docker's.
    mutating func take(from rest: inout ArraySlice<String>) throws(Unreadable) {
        while let argument = rest.first, argument.hasPrefix("-"), argument != "-", argument != "--" {
            rest = rest.dropFirst()
            if argument.hasPrefix("--") {
                try long(argument, &rest)
            } else {
                try shorts(argument, &rest)
            }
        }
    }

    private mutating func long(_ argument: String, _ rest: inout ArraySlice<String>) throws(Unreadable) {
        let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        var value = parts.count == 2 ? String(parts[1]) : nil
        switch name {
        case "help":
            wantsHelp = true
        case "root":
            if value == nil { value = try Self.next(&rest, after: argument) }
            root = value
        case _ where Self.withoutValue.contains(name):
            arguments.append(argument)
        case _ where Self.withValue.contains(name):
            arguments.append(argument)
            if value == nil {
                value = try Self.next(&rest, after: argument)
                arguments.append(value ?? "")
            }
            if name == "config" { configDirectory = value }
        default:
            throw Unreadable(message: "unknown flag: --\(name)")
        }
    }

    /// `-D`, `-Dc name`, `-cname`, `-c=name`.
    private mutating func shorts(_ argument: String, _ rest: inout ArraySlice<String>) throws(Unreadable) {
        var letters = argument.dropFirst()
        while let letter = letters.popFirst() {
            if letter == "h" {
                wantsHelp = true
                continue
            }
            guard let name = Self.short[letter] else {
                throw Unreadable(message: "unknown shorthand flag: '\(letter)' in \(argument)")
            }
            if Self.withoutValue.contains(name) {
                guard letters.first == "=" else {
                    arguments.append("-\(letter)")
                    continue
                }
                arguments.append("-\(letter)\(letters)")
                return
            }
            if letters.isEmpty {
                arguments += ["-\(letter)", try Self.next(&rest, after: "-\(letter)")]
            } else {
                arguments.append("-\(letter)\(letters)")
            }
            return
        }
    }

    private static func next(
        _ rest: inout ArraySlice<String>,
        after flag: String
    ) throws(Unreadable) -> String {
        guard let value = rest.popFirst() else { throw Unreadable(message: "flag needs an argument: \(flag)") }
        return value
    }
}
