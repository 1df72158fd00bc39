namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// On a GPU that also draws a screen, the system resets what computes for two seconds or so without a pause. There work is launched in pieces of at most half a second, with a pause between them. How long a
/// piece takes is estimated with a tenth of the speed that GPUs of compute capability 8.0 and later have.
/// </summary>
internal sealed class LaunchPieces(CudaContext context, double seconds)
{
    /// <summary>Operations a second of one multiprocessor: in products on the tensor cores, and in attention row by row.</summary>
    public const double ProductSpeed = 1e11, AttentionSpeed = 1e10;

    public const double DefaultSeconds = 0.5;

    private double _launched;

    /// <summary>Number of rows that may be launched together: a multiple of <paramref name="multiple"/>, or all.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="operations">Operations of one row.</param>
    /// <param name="speed">Operations a second of one multiprocessor.</param>
    /// <param name="multiple">Rows that belong together.</param>
    public int Rows(int rows, double operations, double speed, int multiple) => context.Device.HasTimeLimit
        ? (int)Math.Clamp(seconds * Speed(speed) / operations / multiple, 1, 1 + (rows - 1) / multiple) * multiple
        : rows;

    /// <summary>Announces a launch; waits before it where it would make the piece too large.</summary>
    public void Announce(double operations, double speed)
    {
        if (context.Device.HasTimeLimit)
        {
            double launch = operations / Speed(speed);
            if (_launched > 0 && _launched + launch > seconds)
            {
                context.Wait();
                _launched = 0;
            }

            _launched += launch;
        }
    }

    private double Speed(double each) => each * context.Device.Processors;
}
