import CLibSecret
import Glibc

/// Ends a call into libsecret that takes too long.
///
/// libsecret's calls block, some for 25 seconds and those that wait for a window for ever. A second thread waits with
/// them: when the time is over it cancels the call, and if even that does not bring the call back it says so and ends
/// the process, because a helper that hangs makes `docker` hang.
struct Deadline {
    /// How long a cancelled call may take to come back, in milliseconds.
    private static let grace: CInt = 1500

    private let control: CInt

    /// Starts the thread.
    ///
    /// - Parameters:
    ///   - milliseconds: when the call is cancelled.
    ///   - cancellable: what is cancelled; it must live as long as the process.
    ///   - cancel: libsecret's function for it.
    ///   - lastWords: what is written to standard output if the process must be ended.
    init?(
        milliseconds: CInt,
        cancellable: OpaquePointer,
        cancel: @escaping ram_g_cancellable_cancel,
        lastWords: [UInt8]
    ) {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        control = ends[1]
        let words = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: lastWords.count)
        _ = words.initialize(from: lastWords)
        let watch = UnsafeMutablePointer<Watch>.allocate(capacity: 1)
        watch.initialize(
            to: Watch(
                control: ends[0],
                milliseconds: milliseconds,
                cancellable: cancellable,
                cancel: cancel,
                lastWords: UnsafeRawBufferPointer(words)
            )
        )
        var thread = pthread_t()
        let failure = pthread_create(
            &thread,
            nil,
            { context in
                context?.assumingMemoryBound(to: Watch.self).pointee.run()
                return nil
            },
            watch
        )
        guard failure == 0 else { return nil }
        pthread_detach(thread)
    }

    /// Starts the time anew.
    ///
    /// - Parameter milliseconds: when the call is cancelled, from now on.
    func restart(milliseconds: CInt) {
        var value = milliseconds
        _ = write(control, &value, MemoryLayout<CInt>.size)
    }

    /// What the thread has; it lives as long as the process.
    private struct Watch {
        let control: CInt
        let milliseconds: CInt
        let cancellable: OpaquePointer
        let cancel: ram_g_cancellable_cancel
        let lastWords: UnsafeRawBufferPointer

        func run() {
            var milliseconds = milliseconds
            while true {
                var control = pollfd(fd: control, events: Int16(POLLIN), revents: 0)
                let ready = poll(&control, 1, milliseconds)
                if ready < 0 { continue }
                if ready == 0 { break }
                guard read(self.control, &milliseconds, MemoryLayout<CInt>.size) == MemoryLayout<CInt>.size else {
                    return
                }
            }
            cancel(cancellable)
            // Nobody restarts a time that is over; whoever sees the call come back ends the process before this does.
            _ = poll(nil, 0, Deadline.grace)
            _ = write(STDOUT_FILENO, lastWords.baseAddress, lastWords.count)
            _exit(1)
        }
    }
}
