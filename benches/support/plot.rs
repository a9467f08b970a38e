//! Lines over logarithmic axes, as SVG.

use plotters::prelude::*;

/// The figures of one contender.
pub struct Line {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

const COLOURS: [RGBColor; 9] = [
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0xb8, 0xb8, 0xb8),
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x17, 0xbe, 0xcf),
];

/// An SVG of `lines`, both axes logarithmic, marked at the first line's places.
pub fn plot(title: &str, x: &str, y: &str, lines: &[Line]) -> String {
    let mut svg = String::new();
    draw(&mut svg, title, x, y, lines).expect("an SVG can be drawn into a string");
    svg
}

fn draw(svg: &mut String, title: &str, x: &str, y: &str, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let range = |of: fn(&(f64, f64)) -> f64, below: f64, above: f64| {
        let all = lines.iter().flat_map(|line| line.points.iter().map(of));
        let (least, most) = all.fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), at| (least.min(at), most.max(at)));
        (least * below..most * above).log_scale()
    };
    let root = SVGBackend::with_string(svg, (760, 440)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .right_y_label_area_size(150)
        .build_cartesian_2d(range(|point| point.0, 0.9, 1.1), range(|point| point.1, 0.8, 1.25))?;
    let number = |number: &f64| {
        if *number < 1.0 { format!("{number}") } else { format!("{number:.0}") }
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        let series = chart.draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(3))?;
        series.label(line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    drop(chart);
    root.present()?;
    drop(root);
    Ok(())
}
