import Glibc

/// The browser of whoever is at this machine.
enum Browser {
    /// Opens an address, if there is a desktop; says nothing if that fails, because the address has been shown.
    ///
    /// - Parameters:
    ///   - address: the address; only `https`, and `http` to this machine itself, is handed to another program.
    ///   - context: where the command runs.
    static func open(_ address: String, _ context: CommandContext) {
        let environment = context.environment
        guard geteuid() != 0, address.hasPrefix("https://") || address.hasPrefix("http://127.0.0.1"),
            !(environment["DISPLAY"] ?? "").isEmpty || !(environment["WAYLAND_DISPLAY"] ?? "").isEmpty,
            let program = ChildProcess.find("xdg-open", environment: environment)
        else { return }
        _ = try? ChildProcess(path: program, arguments: [address], environment: environment).run(within: 5000)
    }
}
