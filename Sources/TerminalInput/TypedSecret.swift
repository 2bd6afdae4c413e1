import Glibc
import Synchronization

/// A secret that somebody types: the terminal does not show it, and is as before when the question ends, also by a signal,
/// and while the program is stopped with Control-Z.
package enum TypedSecret {
    /// The signals by which somebody gives up.
    private static let endings = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]
    /// Whether the terminal shows nothing because of us.
    private static let isAsking = Atomic(false)

    /// Does something while the terminal shows nothing of what is typed.
    ///
    /// - Parameter body: what reads the secret from standard input.
    /// - Returns: what the body returns; `nil` if standard input is no terminal.
    package static func reading<Value>(_ body: () -> Value) -> Value? {
        var settings = termios()
        guard isatty(STDIN_FILENO) == 1, tcgetattr(STDIN_FILENO, &settings) == 0 else { return nil }
        // One that shows nothing anyway stays so.
        guard settings.c_lflag & tcflag_t(ECHO) != 0 else { return body() }
        isAsking.store(true, ordering: .sequentiallyConsistent)
        var handlers = endings.map { number in
            var (ours, before) = (sigaction(), sigaction())
            ours.__sigaction_handler.sa_handler = { number in
                TypedSecret.showTyping()
                signal(number, SIG_DFL)
                // It comes when this handler has returned.
                raise(number)
            }
            sigaction(number, &ours, &before)
            return (number, before)
        }
        handlers.append((SIGTSTP, stopOnRequest()))
        setEcho(false)
        defer {
            showTyping()
            for (number, before) in handlers {
                var before = before
                sigaction(number, &before, nil)
            }
        }
        return body()
    }

    /// Has the terminal show what is typed while the program is stopped: not every shell sees to that, and some leave it so
    /// when the program goes on.
    ///
    /// - Returns: what was done before when somebody stopped the program.
    @discardableResult
    private static func stopOnRequest() -> sigaction {
        var (ours, before) = (sigaction(), sigaction())
        ours.sa_flags = SA_RESTART | SA_NODEFER
        ours.__sigaction_handler.sa_handler = { number in
            TypedSecret.setEcho(true)
            signal(number, SIG_DFL)
            // It stops in here, for the signal is not held back, and goes on in here.
            raise(number)
            TypedSecret.stopOnRequest()
            TypedSecret.setEcho(false)
        }
        sigaction(SIGTSTP, &ours, &before)
        return before
    }

    private static func setEcho(_ isOn: Bool) {
        var settings = termios()
        guard tcgetattr(STDIN_FILENO, &settings) == 0 else { return }
        if isOn { settings.c_lflag |= tcflag_t(ECHO) } else { settings.c_lflag &= ~tcflag_t(ECHO) }
        // Half a secret is not for who reads next.
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
    }

    /// Has the terminal show again what is typed, if a secret is being asked for; for whatever ends the process meanwhile,
    /// signal handlers among it.
    package static func showTyping() {
        guard isAsking.load(ordering: .sequentiallyConsistent) else { return }
        setEcho(true)
        // The end of the line was not shown either.
        _ = write(STDERR_FILENO, "\n", 1)
        isAsking.store(false, ordering: .sequentiallyConsistent)
    }
}
