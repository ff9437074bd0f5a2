/** Stacked bars over days. The table below a plot has the same numbers, so the plot is a picture for screen readers. */
import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useRef, useState } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import './plot.css'

/** One colour of the bars. */
export interface PlotSeries {
  label: string
  values: readonly number[]
}

/** Properties of {@link StackedBars}. */
export interface PlotProps {
  label: string
  /** one for each value: `2026-05-01` */
  days: readonly string[]
  /** the first is at the bottom */
  series: readonly PlotSeries[]
  format: (value: number) => string
  /** of the axis; default: `format` */
  formatAxis?: ((value: number) => string) | undefined
}

/** Bars of days, each made of series. */
export function StackedBars({ label, days, series, format, formatAxis = format }: PlotProps) {
  const box = useRef<HTMLDivElement>(null)
  const [shown, setShown] = useState<number>()
  const scheme = useComputedColorScheme()
  const formatter = useRef(formatAxis)
  formatter.current = formatAxis
  // biome-ignore lint/correctness/useExhaustiveDependencies: other colours need another drawing
  useEffect(() => {
    if (!box.current) return
    const element = box.current
    const plot = new uPlot(
      optionsOf(element, series, value => formatter.current(value), setShown),
      dataOf(days, series),
      element,
    )
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 240 }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      plot.destroy()
    }
  }, [days, series, scheme])
  return (
    <figure className="plot">
      <div ref={box} className="plot-box" role="img" aria-label={label} />
      <figcaption className="plot-legend">
        <span className="plot-day">{shown === undefined ? 'All days' : days[shown]}</span>
        {series.map(({ label: name, values }, index) => (
          <span key={name} className="plot-key">
            <span className="plot-dot" style={{ background: `var(--plot-${(index % 8) + 1})` }} />
            {name}
            <b>{format(shown === undefined ? values.reduce((a, b) => a + b, 0) : (values[shown] ?? 0))}</b>
          </span>
        ))}
      </figcaption>
    </figure>
  )
}

/** Each series stands on the ones before: the highest is drawn first, and the next ones over it. */
function dataOf(days: readonly string[], series: readonly PlotSeries[]): uPlot.AlignedData {
  const sums = days.map(() => 0)
  const stacked = series.map(({ values }) => values.map((value, day) => (sums[day] = (sums[day] ?? 0) + value)))
  return [days.map(day => Date.parse(day) / 1000), ...stacked.reverse()]
}

function optionsOf(
  element: HTMLElement,
  series: readonly PlotSeries[],
  format: (value: number) => string,
  show: (day: number | undefined) => void,
): uPlot.Options {
  const style = getComputedStyle(element)
  const colour = (name: string): string => resolved(element, `var(${name})`)
  const bars = uPlot.paths.bars?.({ size: [0.72, 48], radius: 0.04 })
  const axis = { stroke: colour('--text-2'), font: `11px ${style.fontFamily}`, ticks: { show: false } }
  return {
    width: element.clientWidth,
    height: 240,
    padding: [12, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    tzDate: seconds => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
    scales: {
      x: { time: true, range: (_, min, max) => [min - 43_200, max + 43_200] },
      y: { range: (_, __, max) => [0, max || 1] },
    },
    axes: [
      {
        ...axis,
        size: 26,
        grid: { show: false },
        values: [[86_400, '{D} {MMM}', null, null, null, null, null, null, 1]],
        incrs: [1, 2, 3, 7, 14, 28, 56].map(days => days * 86_400),
      },
      { ...axis, size: 64, grid: { stroke: colour('--line'), width: 1 }, values: (_, ticks) => ticks.map(format) },
    ],
    series: [
      {},
      ...series
        .map((_, index) => ({
          fill: colour(`--plot-${(index % 8) + 1}`),
          width: 0,
          ...(bars && { paths: bars }),
          points: { show: false },
        }))
        .reverse(),
    ],
    hooks: { setCursor: [({ cursor }) => show(cursor.idx ?? undefined)] },
  }
}

/** A canvas takes no variables: an element with the colour says what they stand for. */
function resolved(element: HTMLElement, value: string): string {
  const probe = document.createElement('span')
  probe.style.color = value
  element.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}
