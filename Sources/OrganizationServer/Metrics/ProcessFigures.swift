import Foundation
import Glibc

/// What Linux says of this process; each is `nil` where it says nothing.
struct ProcessFigures {
    var residentBytes: Double?
    var cpuSeconds: Double?
    /// Seconds since 1970.
    var startTime: Double?
    var openFiles: Double?

    /// Asks Linux (proc(5)).
    static func read() -> ProcessFigures {
        var figures = ProcessFigures()
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        // The second field is the program's name in parentheses, in which anything may be.
        if let stat = contents("/proc/self/stat"), let name = stat.lastIndex(of: ")") {
            let fields = stat[stat.index(after: name)...].split(separator: " ")
            func field(_ number: Int) -> Double? {
                fields.indices.contains(number - 3) ? Double(fields[number - 3]) : nil
            }
            if let user = field(14), let system = field(15) { figures.cpuSeconds = (user + system) / ticks }
            if let pages = field(24) { figures.residentBytes = pages * Double(getpagesize()) }
            if let start = field(22), let boot = bootTime { figures.startTime = boot + start / ticks }
        }
        if let files = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            figures.openFiles = Double(files.count)
        }
        return figures
    }

    private static var bootTime: Double? {
        contents("/proc/stat")?.split(separator: "\n").first { $0.hasPrefix("btime ") }.flatMap {
            Double($0.dropFirst(6))
        }
    }

    private static func contents(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }
}
